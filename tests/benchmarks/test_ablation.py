"""The ladder: every rung adds one thing, all have one budget, and what is finished is not done again."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import ablation
from encoders.part_momentum.config import TrainConfig

BASE = TrainConfig(data=("data",), out="out", wordings="")


def test_rungs_share_data_and_budget_and_end_with_what_is_the_default() -> None:
    ladder = [change(BASE) for _, change in ablation.rungs()]
    for config in ladder:
        same = ("data", "wordings", "synthetic", "steps", "batch", "lr", "styled", "quirk", "seed")
        assert {k: asdict(config)[k] for k in same} == {k: asdict(BASE)[k] for k in same}
    assert all(config.model.is_baseline for config in ladder[:3])
    assert ladder[1].reconstruction and ladder[1].model.decoder
    assert [config.mask for config in ladder[:3]] == [False, False, True]
    assert ladder[-1] == BASE
    assert ladder[3] == replace(BASE, queue=0)
    for before, after in pairwise(ladder[4:]):
        changed = [k for k, v in asdict(after).items() if asdict(before)[k] != v]
        assert len(changed) == 1, changed


def test_a_finished_run_is_read_and_the_table_has_means_and_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "train_retriever", lambda config: pytest.fail("trained again"))
    found: dict[str, list[dict[str, float]]] = {}
    for number, run in enumerate(ablation.runs(TrainConfig(data=(), out=str(tmp_path), wordings=""), 2, 0)):
        run.figures.parent.mkdir(parents=True)
        run.figures.write_text(json.dumps({"classes": 0.5 + number / 100}))
        found.setdefault(run.rung, []).append(ablation.perform(run, tmp_path))
    lines = ablation.table(found, ["classes"]).splitlines()
    assert len(lines) == 2 + len(ablation.rungs())
    assert lines[2] == "| whole-body contrastive baseline | 2 | 0.550 (0.500 to 0.600) |"
