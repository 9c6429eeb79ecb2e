"""The commands from end to end: what goes in by ``index`` comes out by every other door."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from motion import SMPL_22, Caption, Clip, write
from tests.fakes import FakeEncoder, somebody, write_labelled, write_takes
from tests.remora.conftest import CLIPS, LONG_SPANS, TAKES, Remora


def test_a_sentence_finds_the_take_it_describes(remora: Remora, library: Path) -> None:
    answer = remora("search", "salsa dance", "--library", library, "-k", 3, "--json").json
    assert set(answer) == {"query", "library_version", "plan", "hits"}
    hit = answer["hits"][0]
    assert set(hit) >= {"rank", "clip_id", "start_s", "end_s", "score", "captions", "source", "parts"}
    assert (hit["rank"], hit["clip_id"]) == (1, "takes/salsa dance.npy#0.00-3.00")
    assert hit["score"] == pytest.approx(1.0, abs=1e-3)
    assert hit["captions"] == ["salsa dance"] and hit["source"] == "takes"
    scores = [hit["score"] for hit in answer["hits"]]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_hits_say_how_well_every_part_fits(remora: Remora, library: Path) -> None:
    for hit in remora("search", "wave hello", "--library", library, "--json").json["hits"]:
        assert set(hit["parts"]) == {"root", "left_leg", "right_leg", "backbone", "left_arm", "right_arm"}


def test_a_clip_finds_itself_first(remora: Remora, library: Path) -> None:
    clip_id = "takes/kick ball.npy#0.00-2.50"
    for options in ([], ["--part", "left_arm"], ["--weights", "left_arm=2,right_leg=1"]):
        hits = remora("search", "--clip", clip_id, "--library", library, "--json", *options).json["hits"]
        assert hits[0]["clip_id"] == clip_id


def test_captions_are_found_for_a_motion(remora: Remora, library: Path) -> None:
    answer = remora(
        "search", "--clip", "takes/kick ball.npy#0.00-2.50", "--to", "text", "--library", library, "--json"
    ).json
    assert answer["captions"][0]["text"] == "kick ball"


def test_filters_keep_what_fits(remora: Remora, library: Path) -> None:
    hits = remora("search", "walk", "--library", library, "--where", "duration_s < 2.2", "--json").json["hits"]
    assert {hit["clip_id"] for hit in hits} == {"takes/wave hello.npy#0.00-2.00", "takes/deep/jump high.npy#0.00-1.50"}


def test_a_table_names_rank_score_clip_seconds_caption_and_source(remora: Remora, library: Path) -> None:
    table = remora("search", "salsa dance", "--library", library).out
    for word in ("rank", "score", "clip", "seconds", "caption", "source", "takes/salsa dance.npy#0.00-3.00", "0.0-3.0"):
        assert word in table


def test_indexing_again_touches_nothing(remora: Remora, library: Path, takes: Path, fake: FakeEncoder) -> None:
    report = remora("index", takes, "--library", library, "--json").json
    assert (report["added"], report["replaced"], report["removed"]) == (0, 0, 0)
    assert report["unchanged"] == CLIPS and fake.encoded == 0
    assert report["version"] == remora("library", "info", library, "--json").json["version"]


def test_an_exported_clip_is_the_clip(remora: Remora, library: Path, tmp_path: Path) -> None:
    to = tmp_path / "out.npy"
    assert remora("export", "takes/salsa dance.npy#0.00-3.00", "--library", library, "--to", to).code == 0
    np.testing.assert_allclose(np.load(to, allow_pickle=False), somebody(3.0, seed=0), atol=1e-5)


def test_convert_says_what_it_assumed(remora: Remora, takes: Path, tmp_path: Path) -> None:
    result = remora("convert", takes / "wave hello.npy", tmp_path / "out.npz", "--json")
    assert result.json["frames"] == 40 and "unit" in result.json["notes"]


def test_a_format_without_a_frame_rate_says_what_it_will_be_read_at(
    remora: Remora, takes: Path, tmp_path: Path
) -> None:
    fast = tmp_path / "fast.npz"
    write(Clip(somebody(2.0, fps=60.0), SMPL_22, 60.0), fast)
    assert "read as 20 fps" in remora("convert", fast, tmp_path / "out.npy").err
    assert "fps" not in remora("convert", fast, tmp_path / "out.npz").err
    assert "fps" not in remora("convert", takes / "wave hello.npy", tmp_path / "out.npy").err  # 20 fps already


def test_a_label_given_twice_is_refused(remora: Remora, takes: Path) -> None:
    answer = remora("classify", takes / "wave hello.npy", "--labels", "walk,run,walk", "--json")
    assert answer.code != 0 and "'walk' twice" in answer.err


def test_classify_gives_probabilities_of_every_label(remora: Remora, tmp_path: Path) -> None:
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path, text in zip(files, ("salsa dance", "kick ball"), strict=True):
        write(Clip(somebody(2.0), SMPL_22, 20.0, (Caption(text),)), path)
    answer = remora("classify", *files, "--labels", "salsa dance, kick ball", "--json").json
    assert [result["file"] for result in answer["files"]] == [str(file) for file in files]
    assert [result["best"] for result in answer["files"]] == ["salsa dance", "kick ball"]
    for result in answer["files"]:
        assert {row["label"] for row in result["labels"]} == {"salsa dance", "kick ball"}
        assert sum(row["probability"] for row in result["labels"]) == pytest.approx(1.0, abs=1e-5)


def test_info_and_history_tell_what_happened(remora: Remora, library: Path) -> None:
    info = remora("library", "info", library, "--json").json
    assert info["clips"] == CLIPS and info["sources"] == {"takes": CLIPS}
    assert info["captions"] == CLIPS and info["encoder"]["name"] == "fake"
    newest = remora("library", "history", library, "--json").json[0]
    assert newest["version"] == info["version"] and newest["rows"] == info["clips"]
    assert remora("library", "verify", library, "--json").json["ok"]


def test_the_library_may_be_named_by_the_environment(
    remora: Remora, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMORA_LIBRARY", str(library))
    assert remora("search", "walk", "--json").json["hits"]
    assert remora("library", "info", "--json").json["path"] == str(library)


def test_a_gone_file_is_reported_and_pruned_when_asked(remora: Remora, library: Path, takes: Path) -> None:
    (takes / "deep" / "long walk.npy").unlink()
    report = remora("index", takes, "--library", library, "--json").json
    assert report["missing"] == ["takes/deep/long walk.npy"] and report["removed"] == 0
    report = remora("index", takes, "--library", library, "--prune", "--json").json
    assert report["removed"] == LONG_SPANS
    assert remora("library", "info", library, "--json").json["clips"] == len(TAKES) - 1


def test_a_moved_folder_is_recognised(remora: Remora, library: Path, takes: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(takes, tmp_path / "elsewhere" / "takes"))
    assert remora("index", moved, "--library", library, "--json").json["added"] == 0


def test_another_folder_of_the_same_name_is_refused_until_named(remora: Remora, takes: Path, tmp_path: Path) -> None:
    library = tmp_path / "new"
    other = write_takes(tmp_path / "other" / "takes", {"wave hello.npy": 4.0})
    assert remora("index", takes, "--library", library).code == 0
    refused = remora("index", other, "--library", library)
    assert refused.code == 1 and "--name" in refused.err and str(takes) in refused.err
    assert remora("index", takes, other, "--library", library).code == 1
    assert remora("index", other, "--library", library, "--name", "more", "--json").json["added"] == 1


def test_plain_output_of_index_names_the_rejected(remora: Remora, takes: Path, tmp_path: Path) -> None:
    (takes / "broken.bvh").write_text("HIERARCHY\n")
    result = remora("index", takes, "--library", tmp_path / "library")
    assert result.code == 0
    assert "1 rejected" in result.out and "takes/broken.bvh" in result.out


def test_evaluation_gives_every_row_its_interval_and_its_baseline(
    remora: Remora, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_labelled(tmp_path / "data", {"walk": 4, "jump": 3, "wave": 5})
    answer = remora("evaluate", "retrieval", "--data", folder, "--split", "test", "--json", "--baseline", "x").json
    assert (answer["clips"], answer["classes"], answer["baseline"]) == (12, 3, "fake")
    first = next(row for row in answer["rows"] if row["metric"] == "mAP")
    assert first["low"] <= first["value"] <= first["high"] and first["difference"]["value"] == 0
    assert first["value"] == pytest.approx(1.0)  # the fake puts a clip where its caption lies
    table = remora("evaluate", "retrieval", "--data", folder, "--no-baseline").out
    assert "mAP" in table and "baseline" not in table


def test_evaluation_of_a_split_that_is_not_there(remora: Remora, tmp_path: Path) -> None:
    folder = write_labelled(tmp_path / "data", {"walk": 2, "jump": 2})
    result = remora("evaluate", "retrieval", "--data", folder, "--split", "dev", "--json")
    assert result.code == 1 and "'dev'" in result.err and "test" in result.err and result.out == ""
