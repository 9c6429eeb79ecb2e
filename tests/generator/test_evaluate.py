"""The control ladder: what each rung gets, paired differences, and who may judge."""

from __future__ import annotations

import numpy as np
import pytest

from generator import Generator, GeneratorError, Sampling
from generator.evaluate import LADDER, Task, evaluate_generation, exemplars_for, make_task, posture
from generator.judges import EncoderJudge, PublishedJudge
from motion import Caption, Clip, mirror_clip
from motion.synth import synthesise
from tests.fakes import FakeEncoder


@pytest.fixture(scope="module")
def test_clips() -> list[Clip]:
    return synthesise(66, seed=21)


@pytest.fixture(scope="module")
def task(clips: list[Clip], test_clips: list[Clip]) -> Task:
    return make_task(test_clips, clips, FakeEncoder(), neighbours=2)


def test_rungs(task: Task, clips: list[Clip]) -> None:
    def ids(kind: str) -> list[list[int]]:
        rng = np.random.default_rng(0)
        return [[id(x.clip) for x in found] for found in exemplars_for(task, kind, clips, rng)]

    retrieved, none, chance, shuffled = (ids(kind) for kind in LADDER)
    assert all(len(set(found)) == 2 for found in retrieved) and not any(none)
    assert sum(a == b for a, b in zip(retrieved, chance, strict=True)) < len(retrieved) / 4
    assert sorted(map(tuple, shuffled)) == sorted(map(tuple, retrieved)) and shuffled != retrieved
    with pytest.raises(GeneratorError, match="unknown rung"):
        exemplars_for(task, "oracle", clips, np.random.default_rng(0))


def test_a_test_clip_never_learns_from_its_own_take(test_clips: list[Clip]) -> None:
    task = make_task(test_clips, test_clips, FakeEncoder(), neighbours=3)
    for clip, found in zip(task.clips, task.found, strict=True):
        assert found and all(x.clip.source.take != clip.source.take for x in found)


def test_the_report_of_a_ladder(generator: Generator, clips: list[Clip], test_clips: list[Clip]) -> None:
    judge = EncoderJudge(FakeEncoder(name="judge", fingerprint="9" * 32))
    report = evaluate_generation(
        generator, test=test_clips, gallery=clips, encoder=FakeEncoder(), judge=judge, rungs=("retrieved", "none"),
        sampling=Sampling(steps=1), repeats=3, events=1,
    )  # fmt: skip
    real, retrieved, none = report.rows
    assert [r.name for r in report.rows] == ["real", "retrieved", "none"] and "our own" in report.judge
    assert real.r_precision[0].value > 0.95 and real.fid.value < 1e-6  # its judge knows a clip by its caption
    assert [g.over for g in report.gains] == ["none"] and report.gains[0].top3.low <= report.gains[0].top3.high
    assert none.copied == 0.0 and retrieved.copied > 0 and set(report.events) == {"retrieved", "none"}
    assert real.hits.shape == (len(test_clips),) and real.physics.foot_skate >= 0
    with pytest.raises(GeneratorError, match="retriever itself"):
        evaluate_generation(
            generator, test=test_clips, gallery=clips, encoder=FakeEncoder(), judge=EncoderJudge(FakeEncoder())
        )


def test_postures_are_equal_where_only_place_and_heading_differ(clips: list[Clip]) -> None:
    from dataclasses import replace

    from motion.geometry import turn

    clip = clips[0]
    moved = turn(clip.joints, np.asarray(1.0)) + np.array([3.0, 0.0, -2.0])
    np.testing.assert_allclose(posture(replace(clip, joints=moved.astype("f"))), posture(clip), atol=1e-3)
    assert np.abs(posture(mirror_clip(clip)) - posture(clip)).max() > 0.01


def test_the_published_judge_says_what_it_cannot_read(clips: list[Clip]) -> None:
    from motion.features import KIT_251

    class Evaluator:
        features, fingerprint = KIT_251, "0"

    judge = PublishedJudge(Evaluator())  # type: ignore[arg-type]
    with pytest.raises(GeneratorError, match="parts of speech"):
        judge.encode_captions([Caption("a person waves")])
    with pytest.raises(GeneratorError, match="--dataset"):
        judge.encode_motion(clips[:1])
