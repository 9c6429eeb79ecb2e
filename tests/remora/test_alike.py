"""Doubles in a library and between its splits are found by command; the exit status of leaks says whether there are any."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.remora.conftest import Remora


def test_a_copied_take_is_a_duplicate_and_nothing_else_is(remora: Remora, takes: Path, tmp_path: Path) -> None:
    (takes / "again").mkdir()
    shutil.copy(takes / "kick ball.npy", takes / "again" / "kick ball.npy")
    assert remora("index", takes, "--library", tmp_path / "lib").code == 0
    found = remora("library", "duplicates", tmp_path / "lib", "--above", 0.99999, "--json").json
    named = {frozenset(pair[side].split("#")[0] for side in ("one", "other")) for pair in found}
    assert named == {
        frozenset({"takes/kick ball.npy", "takes/again/kick ball.npy"}),
        frozenset({"takes/deep/long walk.npy"}),
    }
    assert all(pair["score"] >= 0.99999 and pair["one"] != pair["other"] for pair in found)
    table = remora("library", "duplicates", tmp_path / "lib", "--above", 0.99999)
    assert table.code == 0 and "again/kick ball.npy" in table.out and f"{len(found)} pairs" in table.err
    assert remora("library", "duplicates", tmp_path / "lib", "--above", 1.5).err.count("between 0 and 1") == 1


def test_leaks_are_between_the_two_filters_only(remora: Remora, takes: Path, tmp_path: Path) -> None:
    (takes / "again").mkdir()
    shutil.copy(takes / "kick ball.npy", takes / "again" / "kick ball.npy")
    assert remora("index", takes, "--library", tmp_path / "lib").code == 0
    sides = [
        "--where",
        "clip_id like 'takes/kick%'",
        "--against",
        "clip_id like 'takes/again/%'",
        "--above",
        0.99999,
        "--json",
    ]
    found = remora("library", "leaks", tmp_path / "lib", *sides)
    assert found.code == 1
    assert [(pair["one"][:11], pair["other"][:11]) for pair in found.json] == [("takes/kick ", "takes/again")]
    none = remora("library", "leaks", tmp_path / "lib", "--json")  # nothing is of a split here
    assert (none.code, none.json) == (0, [])
