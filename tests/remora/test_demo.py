"""The demo: does what it says, twice, and tells what to type next."""

from __future__ import annotations

from pathlib import Path

from tests.remora.conftest import Remora


def test_the_demo_answers_draws_and_says_what_to_type_next(remora: Remora, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    result = remora("demo", folder, "--clips", 24)
    assert result.code == 0, result.err
    for title in (
        "by words",
        "by motion",
        "by its right arm only",
        "probability",
        "remora studio --library",
        "Now yours",
    ):
        assert title in result.out
    for name, begin in (("hits.png", b"\x89PNG"), ("best.glb", b"glTF"), ("best.bvh", b"HIERARCHY")):
        assert (folder / name).read_bytes().startswith(begin)
    assert remora("search", "walk", "--library", folder / "library", "--json").json["hits"]


def test_run_again_it_indexes_nothing_and_answers_the_same(remora: Remora, tmp_path: Path) -> None:
    first = remora("demo", tmp_path, "--clips", 24, "--json").json
    second = remora("demo", tmp_path, "--clips", 24, "--json").json
    assert first["indexed"]["added"] == 24 and second["indexed"]["added"] == 0
    assert first["indexed"]["rejected"] == []
    for answer in ("by_text", "by_motion", "by_part"):
        assert first[answer] == second[answer]
    asked = {hit["clip_id"] for hit in first["by_motion"]["hits"]}
    assert asked and not any("question" in clip_id for clip_id in asked)
