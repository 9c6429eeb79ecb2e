"""A short torture: the same as ``make torture``, of everything a little; and that it sees what it is meant to see."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from benchmarks.torture import __main__ as main
from benchmarks.torture import boundaries, crowd, media, power
from benchmarks.torture.crowd import Outcome
from benchmarks.torture.world import create, pair, put, violations


def clean(outcome: Outcome) -> bool:
    assert outcome.violations == []
    return outcome.rounds > 0 and outcome.lost == outcome.doubled == 0


def test_writers_and_readers_that_are_killed(tmp_path: Path) -> None:
    outcome = crowd.crowd(tmp_path, kills=8, writers=2, readers=1)
    assert clean(outcome)
    assert outcome.opens > 0
    assert outcome.commits > 0


def test_a_change_that_is_killed_or_fails_on_its_way(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    (tmp_path / "failing").mkdir()
    assert clean(boundaries.killed(tmp_path / "killed", every=60))
    assert clean(boundaries.failing(tmp_path / "failing", every=90, errors=(28,)))


def test_power_cuts(tmp_path: Path) -> None:
    assert clean(power.power(tmp_path, seeds=1, every=12))


def test_a_sync_left_out_is_found_out(tmp_path: Path) -> None:
    outcome = power.mutants(tmp_path, whats=["tag"])
    assert outcome.violations == []
    assert outcome.rounds == 2


def test_rotten_bits(tmp_path: Path) -> None:
    assert clean(media.rot(tmp_path, flips=1))


def test_half_a_commit_a_wrong_row_and_litter_are_seen(tmp_path: Path) -> None:
    library = create(tmp_path / "lib")
    put(library, pair("x", 1))
    assert violations(library.snapshot()) == []
    put(library, {"x-a": 2})
    assert any("x-a is 2, x-b 1" in text for text in violations(library.snapshot()))
    shutil.copytree(
        tmp_path / "lib/segments" / library.snapshot().manifest.segments[0].id, tmp_path / "lib/segments" / ("0" * 32)
    )
    assert len(crowd.litter(library)) == 7


def test_outcomes_are_kept_from_run_to_run_and_written_into_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{main.BEGIN}\nstale\n{main.END}\nafter\n")
    options = ["--json", str(tmp_path / "torture.json"), "--table", str(document), "--flips", "1"]
    assert main.main([*options, "--parts", "read-only", "--peers"]) == 0
    mounts = Path("/proc/self/mounts")
    assert not mounts.exists() or str(tmp_path) not in mounts.read_text()  # nothing is left mounted
    assert main.main([*options, "--parts", "--peers", "remora", "--peer-seconds", "1"]) == 0
    text = document.read_text()
    assert text.startswith("before") and text.endswith("after\n") and "stale" not in text
    assert "| a read-only disk | " in text and "| remora | " in text
