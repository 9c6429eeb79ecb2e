"""The commands about versions, from end to end: what was is found again, and nothing goes that was not asked to go."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import write_takes
from tests.remora.conftest import CLIPS, Remora

NEW = "takes/one more step.npy#0.00-1.50"


@pytest.fixture
def grown(remora: Remora, library: Path, takes: Path) -> Path:
    """A library whose version "first" lacks one clip that the newest has."""
    assert remora("library", "tag", "first", "--library", library).code == 0
    write_takes(takes, {"one more step.npy": 1.5}, seed=9)
    assert remora("index", takes, "--library", library).code == 0
    return library


def clips(remora: Remora, library: Path, *options: object) -> int:
    return int(remora("library", "info", library, "--json", *options).json["clips"])


def test_an_old_version_is_read_by_number_or_tag(remora: Remora, grown: Path, tmp_path: Path) -> None:
    tags = remora("library", "tag", "--library", grown, "--json").json
    for at in ("first", tags["first"]):
        assert clips(remora, grown, "--at", at) == CLIPS
        found = remora("search", "one more step", "--library", grown, "--at", at, "--json").json
        assert NEW not in {hit["clip_id"] for hit in found["hits"]}
        missing = remora("export", NEW, "--library", grown, "--at", at, "--to", tmp_path / "x.npy")
        assert (missing.code, NEW in missing.err) == (1, True)
    assert clips(remora, grown) == CLIPS + 1
    assert remora("search", "x", "--library", grown, "--at", "last").err.count("no tag 'last'; there are first") == 1


def test_difference_and_restore(remora: Remora, grown: Path) -> None:
    found = remora("library", "diff", "first", "--library", grown, "--json").json
    assert (found["added"], found["changed"], found["removed"]) == ([NEW], [], [])
    assert remora("library", "diff", "first", "--library", grown).out == f"+ {NEW}\n"
    report = remora("library", "restore", "first", "--library", grown, "--json").json
    assert report["clips"] == clips(remora, grown) == CLIPS
    kinds = [version["kind"] for version in remora("library", "history", grown, "--json").json]
    assert kinds[:3] == ["restore", "add", "tag"]
    assert remora("library", "tag", "undone", report["version"] - 1, "--library", grown).code == 0
    assert clips(remora, grown, "--at", "undone") == CLIPS + 1


def test_a_vacuum_says_before_it_does(remora: Remora, grown: Path) -> None:
    remora("library", "restore", "first", "--library", grown)
    options = ["--keep", 1, "--older-than", 0, "--json"]
    planned = remora("library", "vacuum", grown, *options).json
    assert planned["dry_run"] and planned["bytes"] > 0
    assert remora("library", "stats", grown, "--json").json["history_bytes"] == planned["bytes"]
    done = remora("library", "vacuum", grown, *options, "--delete").json
    assert (done["versions"], done["bytes"]) == (planned["versions"], planned["bytes"])
    assert clips(remora, grown, "--at", "first") == CLIPS
    assert remora("library", "verify", grown, "--all").code == 0
    assert remora("library", "vacuum", grown, "--older-than", "3x").code == 2
    assert remora("library", "vacuum", grown, "--keep", 0).code == 2


def test_a_checkout_is_a_library(remora: Remora, grown: Path, tmp_path: Path) -> None:
    assert remora("library", "checkout", "first", "--to", tmp_path / "old", "--library", grown).code == 0
    assert clips(remora, tmp_path / "old") == CLIPS
    again = remora("library", "checkout", "first", "--to", tmp_path / "old", "--library", grown)
    assert (again.code, "new folder" in again.err) == (1, True)


def test_damage_is_found_told_and_left_behind(remora: Remora, grown: Path) -> None:
    newest = max((grown / "manifests").iterdir())
    newest.write_bytes(newest.read_bytes()[:-50])
    assert remora("library", "verify", grown).code == 1
    told = remora("library", "repair", grown)
    assert (told.code, newest.name in told.out, "--rollback" in told.err) == (1, True, True)
    mended = remora("library", "repair", grown, "--rollback", "--json").json
    assert mended["moved"] == [f"quarantine/manifests/{newest.name}"]
    assert remora("library", "repair", grown).code == 0
    assert remora("library", "verify", grown, "--all").code == 0
    assert clips(remora, grown) == CLIPS


def test_compaction_tells_what_it_did(remora: Remora, grown: Path) -> None:
    assert remora("library", "compact", grown, "--json").json["merged"] == 2
    assert "nothing to merge" in remora("library", "compact", grown).out
    assert clips(remora, grown) == CLIPS + 1


@pytest.mark.parametrize("command", ["info", "history", "stats", "verify", "vacuum", "compact", "duplicates"])
def test_the_folder_is_an_argument_or_an_option(remora: Remora, library: Path, command: str) -> None:
    as_argument = remora("library", command, library, "--json")
    assert as_argument.code == 0
    for given in (["--library", library], ["-l", library], [f"--library={library}"]):
        assert remora("library", command, *given, "--json").json == as_argument.json
    assert remora("library", command, library, "--library", library).code == 2
    assert remora("library", command, "--library").code == 2
