"""The benchmark measures what it says it does; how fast it is, is not a matter for tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import encoders
from benchmarks import slice as bench
from tests.fakes import FakeEncoder


def test_every_stage_is_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(encoders, "load_encoder", lambda *args, **kwargs: FakeEncoder())
    sizes = ["--clips", "6", "--memory-clips", "0", "--library-clips", "60", "--large-clips", "80", "--texts", "3"]
    bench.main([*sizes, "--json", str(tmp_path / "out" / "slice.json")])
    report = json.loads((tmp_path / "out" / "slice.json").read_text())
    rows = {row["what"].strip(): row for row in report["rows"]}
    assert f"ingest, 6 BVH files of {bench.FRAMES} frames" in rows
    assert {"read", "embed", "commit", "of it the sentence", "search / reading"} <= set(rows)
    assert all(row["value"] >= 0 for row in rows.values())
    printed = capsys.readouterr().out
    assert all(name in printed for name in rows)


def test_memory_is_that_of_this_process_and_grows_with_what_it_holds() -> None:
    before = bench.peak_mb()
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    assert bench.peak_mb() >= before
    assert 10 < before < 100_000


def test_files_of_the_memory_test_are_many_takes_of_few_motions(tmp_path: Path) -> None:
    bench.write_bvh(tmp_path / "bvh", 7, distinct=3)
    files = sorted((tmp_path / "bvh").iterdir())
    assert len(files) == 7
    assert len({path.stat().st_ino for path in files}) == 3
