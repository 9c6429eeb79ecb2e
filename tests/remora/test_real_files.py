"""The thin thread through all rooms on real recordings: BVH and AMC folders and the labelled clips, to hits."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.remora.conftest import Remora


def unpacked(shared_data: Path, to: Path) -> Path:
    for archive in ("bandai-1.tar.xz", "cmu-sample.tar.xz"):
        with tarfile.open(shared_data / "raw" / archive) as tar:
            tar.extractall(to, filter="data")
    return to


def test_recordings_of_any_rig_are_indexed_and_found_by_their_names(
    remora: Remora, shared_data: Path, tmp_path: Path
) -> None:
    folder = unpacked(shared_data, tmp_path / "raw")
    report = remora("index", folder, "--library", tmp_path / "library", "--json").json
    assert report["rejected"] == [] and report["added"] >= 78
    hit = remora("search", "salsa", "--library", tmp_path / "library", "--json").json["hits"][0]
    assert "salsa_10.bvh" in hit["clip_id"] and hit["captions"] == ["salsa"]
    again = remora("index", folder, "--library", tmp_path / "library", "--json").json
    assert (again["added"], again["replaced"], again["unchanged"]) == (0, 0, report["added"])


def test_one_split_of_labelled_clips_is_indexed_with_labels_and_licences(
    remora: Remora, shared_data: Path, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    report = remora("index", shared_data / "actions" / "hdm05", "--split", "test", "--library", library, "--json").json
    assert report["added"] == 55
    for where in ("split = 'test'", "source = 'hdm05'", "licence like 'CC BY-SA%'", "class_id is not null"):
        answer = remora("search", "walk", "--library", library, "--where", where, "-k", 99, "--json").json
        assert answer["plan"]["rows"] == len(answer["hits"]) == 55, where
