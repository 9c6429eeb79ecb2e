"""How good a generator is: the official protocol with a named judge, the control ladder, physics, novelty, and events.

- A judge maps captions and motions to vectors (``judges``): our own encoder, or the published evaluator where its files are
  given. Their figures are never mixed; every table says which it was.
- The ladder makes the same captions with the same seeds from: real neighbours, none, random clips, and neighbours whose
  motions were exchanged among the prompts (shuffled). Retrieval helps only if the first beats the others; the differences
  are paired caption by caption, with intervals.
- Lengths are the real clips' unless said otherwise (as most of the field does; estimated ones are harder).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from generator.errors import GeneratorError
from generator.events import EVENTS, accuracy
from generator.exemplars import ExemplarClip, length_score
from generator.frames import clip_to_frames
from generator.judges import Judge
from generator.metrics import (
    Interval,
    diversity,
    draw_pools,
    fid,
    kid,
    mm_dist,
    multimodality,
    paired_difference,
    pool_hits,
    repeated,
)  # fmt: skip
from generator.model import LONGEST_S, Generated, Generator, Prompt
from generator.sampling import Sampling, without_exemplars
from generator.train.corpus import family_of, nearest, said_of
from motion import Caption, Clip
from motion.geometry import facing, to_reference_bones, turn, yaw_of
from motion.physics import Physics, mean_physics, physics

Progress = Callable[[str, int, int], None]
LADDER = ("retrieved", "none", "random", "shuffled")
POOL = 32
EVENT_SECONDS = 4.0


@dataclass(frozen=True)
class Task:
    """What is asked for: one caption a test clip, its length, its neighbours in the train split."""

    clips: list[Clip]
    captions: list[Caption]
    found: list[list[ExemplarClip]]


@dataclass(frozen=True)
class Figures:
    """One row of the table: a way to make motion, over ``count`` clips."""

    name: str
    count: int
    r_precision: tuple[Interval, ...]  # top 1, 2, 3
    mm_dist: Interval
    fid: Interval
    kid: Interval
    diversity: Interval
    multimodality: Interval | None
    physics: Physics
    nearest_mm: float  # to the nearest training clip, median
    copied: float  # share of first-level tokens equal to an exemplar's at the same phase
    hits: NDArray[np.float64] = field(repr=False)  # [N] top-3 hit of each caption, mean over generations and pools
    distances: NDArray[np.float64] = field(repr=False)  # [N] of each caption to its motion, mean over generations


def caption_of(clip: Clip, index: int) -> Caption:
    """The caption a test clip stands for: what a person said if anybody did, else its template, with its style."""
    human = [c for c in clip.captions if c.kind == "human"]
    if human:
        return human[index % len(human)]
    return clip.captions[0] if clip.captions else Caption(clip.labels.get("class_text", "a person moves"))


def make_task(test: Sequence[Clip], gallery: Sequence[Clip], encoder: DualEncoder, *, neighbours: int) -> Task:
    """Captions of the test clips and their neighbours in ``gallery``, by cosine and length, each take once."""
    clips = [c for c in test if c.duration_s >= 1.0]
    captions = [caption_of(c, i) for i, c in enumerate(clips)]
    motion = encoder.encode_motion(list(gallery)).whole
    rows, scores = nearest(encoder.encode_text([c.text for c in captions]).whole, motion, 32)
    found = []
    for clip, near, score in zip(clips, rows, scores, strict=True):
        ranked = sorted(
            zip(near, score, strict=True),
            key=lambda p: -float(p[1]) * length_score(gallery[p[0]].duration_s, min(clip.duration_s, LONGEST_S)),
        )
        takes, own = {family_of(clip)}, said_of(clip)
        best: list[ExemplarClip] = []
        for i, cosine in ranked:
            other = gallery[i]
            if family_of(other) not in takes and not (own & said_of(other) and family_of(other) == family_of(clip)):
                takes.add(family_of(other))
                best.append(ExemplarClip(other, float(cosine), caption_of(other, 0).text))
        found.append(best[:neighbours])
    return Task(clips, captions, found)


def exemplars_for(
    task: Task, kind: str, gallery: Sequence[Clip], rng: np.random.Generator
) -> list[tuple[ExemplarClip, ...]]:
    """The exemplars of each prompt on a rung of the ladder."""
    if kind == "none":
        return [() for _ in task.clips]
    if kind == "retrieved":
        return [tuple(found) for found in task.found]
    if kind == "random":
        return [
            tuple(
                replace(x, clip=(other := gallery[int(rng.integers(len(gallery)))]), caption=caption_of(other, 0).text)
                for x in found
            )
            for found in task.found
        ]
    if kind == "shuffled":
        order = rng.permutation(len(task.found))
        return [
            tuple(replace(x, clip=y.clip) for x, y in zip(found, task.found[i], strict=False))
            for found, i in zip(task.found, order, strict=True)
        ]
    raise GeneratorError(f"unknown rung {kind!r} of the ladder; use {', '.join(LADDER)}")


def generate_all(
    generator: Generator,
    task: Task,
    exemplars: Sequence[tuple[ExemplarClip, ...]],
    *,
    sampling: Sampling,
    seed: int,
    real_lengths: bool = True,
    progress: Progress | None = None,
    stage: str = "generate",
) -> list[Generated]:
    """One motion a caption; long and short ones are made together with their like."""
    prompts = []
    for i, (clip, caption, found) in enumerate(zip(task.clips, task.captions, exemplars, strict=True)):
        seconds = min(clip.duration_s, LONGEST_S) if real_lengths else None
        prompts.append(Prompt(caption.text, seconds=seconds, seed=seed * 100_003 + i + 1, exemplars=found))
    if not any(exemplars):
        sampling = without_exemplars(sampling)
    order = sorted(range(len(prompts)), key=lambda i: prompts[i].seconds or 0.0)
    out: list[Generated | None] = [None] * len(prompts)
    made = generator.generate([prompts[i] for i in order], sampling=sampling)
    for done, (i, result) in enumerate(zip(order, made, strict=True), start=1):
        out[i] = result
        if progress is not None:
            progress(stage, done, len(order))
    return [x for x in out if x is not None]


def figures(
    name: str,
    motions: Sequence[Sequence[Clip]],
    task: Task,
    judge: Judge,
    *,
    real: NDArray[np.floating[Any]],
    train: NDArray[np.floating[Any]],
    gallery: Sequence[Clip],
    copied: float = 0.0,
    repeats: int = 20,
) -> Figures:
    """The figures of ``motions`` (one list a generation of the whole task) in the judge's space."""
    text = judge.encode_captions(task.captions)
    samples = [judge.encode_motion(clips) for clips in motions]
    words = {caption.text: i for i, caption in enumerate(task.captions)}
    groups = np.array([words[caption.text] for caption in task.captions]) if judge.distinct else None
    top, spread = [], []
    total, drawn = np.zeros(len(text)), np.zeros(len(text))
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        made = samples[repeat % len(samples)]
        pools = draw_pools(len(text), rng=rng, pool=POOL, groups=groups)
        hits = pool_hits(text, made, pools)
        top.append(hits.mean((0, 1)))
        total[pools] += hits[..., 2]
        drawn[pools] += 1
        spread.append(diversity(made, rng=rng, pairs=min(300, len(made) // 2)))
    several = None
    if len(samples) > 1:
        stack = np.stack(samples, 1)
        several = repeated(
            [multimodality(stack, rng=np.random.default_rng(t), pairs=len(samples) // 2) for t in range(repeats)]
        )
    clips = [clip for some in motions for clip in some]
    top1, top2, top3 = (repeated(values) for values in zip(*top, strict=True))
    return Figures(
        name=name, count=len(task.clips), r_precision=(top1, top2, top3),
        mm_dist=repeated([mm_dist(text, made) for made in samples]),
        fid=repeated([fid(real, made) for made in samples]), kid=repeated([kid(real, made) for made in samples]),
        diversity=repeated(spread), multimodality=several,
        physics=mean_physics([physics(c.joints, c.skeleton, c.fps) for c in clips]),
        nearest_mm=novelty(motions[0], samples[0], train, gallery), copied=copied,
        hits=total / np.maximum(drawn, 1),
        distances=np.mean([np.linalg.norm(text - made, axis=-1) for made in samples], axis=0),
    )  # fmt: skip


def novelty(
    clips: Sequence[Clip], vectors: NDArray[np.floating[Any]], train: NDArray[np.floating[Any]], gallery: Sequence[Clip]
) -> float:
    """Median distance in mm to the nearest training clip: mean joint distance at equal phase, roots at the origin.

    The nearest is looked for among the eight training clips whose vectors are closest.
    """
    rows, _ = nearest(vectors, train, 8)
    found = []
    for clip, near in zip(clips, rows, strict=True):
        own = posture(clip)
        found.append(min(float(np.linalg.norm(own - posture(gallery[i]), axis=-1).mean()) for i in near))
    return 1000 * float(np.median(found))


def posture(clip: Clip, poses: int = 24) -> NDArray[np.float32]:
    """``poses`` joints [poses, J, 3] at equal phases, root at the origin, facing +z at each: what is compared for copies."""
    joints = clip.joints[np.linspace(0, len(clip) - 1, poses).round().astype(int)]
    joints = to_reference_bones(joints, clip.skeleton)
    local = joints - joints[:, :1]
    return np.asarray(turn(local, -yaw_of(facing(joints, clip.skeleton))[:, None]), np.float32)


def copy_rate(made: Sequence[Generated], generator: Generator) -> float:
    """Share of first-level tokens that equal the token of one of the exemplars at the same phase of the motion."""
    shares = []
    for result in made:
        frames = [
            clip_to_frames(x.clip, generator.spec)[: round(LONGEST_S * generator.spec.fps)] for x in result.exemplars
        ]
        if not frames:
            continue
        own = result.tokens[..., 0]
        same = np.zeros(own.shape, bool)
        for tokens in generator.tokenizer.encode_frames(frames):
            other = tokens[..., 0]
            phase = np.minimum(
                (np.arange(own.shape[1]) * other.shape[1] / own.shape[1]).astype(int), other.shape[1] - 1
            )
            same |= own == other[:, phase]
        shares.append(float(same.mean()))
    return float(np.mean(shares)) if shares else 0.0


@dataclass(frozen=True)
class Gain:
    """Neighbours against another rung, paired caption by caption over the test set.

    ``top3``: difference of top-3 hits (above 0: neighbours are better); ``distance``: of distances to the caption (under 0:
    better); ``fid_ratio``: FID with neighbours over the rung's.
    """

    over: str
    top3: Interval
    distance: Interval
    fid_ratio: float


@dataclass(frozen=True)
class GenerationReport:
    """The table of one judge, the real row first; gains of neighbours over the other rungs; event accuracy by rung."""

    judge: str
    neighbours: int
    real_lengths: bool
    rows: tuple[Figures, ...]
    gains: tuple[Gain, ...] = ()
    events: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def evaluate_generation(
    generator: Generator,
    *,
    test: Sequence[Clip],
    gallery: Sequence[Clip],
    encoder: DualEncoder,
    judge: Judge,
    rungs: Sequence[str] = LADDER,
    neighbours: int = 2,
    sampling: Sampling | None = None,
    generations: int = 1,
    repeats: int = 20,
    real_lengths: bool = True,
    events: int = 0,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> GenerationReport:
    """The control ladder: ``encoder`` retrieves, ``judge`` judges; ``generations`` motions a caption and rung.

    With ``events`` also so many motions for each prompt of :data:`generator.events.EVENTS`, with and without neighbours.

    Raises:
        GeneratorError: retriever and judge are the same model, which would grade its own work.
    """
    if encoder.spec.fingerprint == judge.fingerprint:
        raise GeneratorError("the evaluator is the retriever itself; name another encoder with --evaluator")
    task = make_task(test, gallery, encoder, neighbours=neighbours)
    real, train = judge.encode_motion(task.clips), judge.encode_motion(gallery)
    common: dict[str, Any] = {"real": real, "train": train, "gallery": gallery, "repeats": repeats}
    rows = [figures("real", [task.clips], task, judge, **common)]
    for rung in rungs:
        turns = []
        for number in range(generations):
            found = exemplars_for(task, rung, gallery, np.random.default_rng([7, number]))
            turns.append(
                generate_all(
                    generator, task, found, sampling=sampling or Sampling(), seed=number + 1, real_lengths=real_lengths,
                    progress=progress, stage=f"{rung} {number + 1}",
                )
            )  # fmt: skip
        motions = [[g.clip for g in turn] for turn in turns]
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            joints = {str(i): g.clip.joints for i, g in enumerate(turns[0])}
            np.savez(keep / f"{rung}.npz", allow_pickle=False, **joints)
        rows.append(figures(rung, motions, task, judge, copied=copy_rate(turns[0], generator), **common))
    told = {}
    if events:
        for rung in [r for r in rungs if r in ("retrieved", "none")]:
            told[rung] = event_accuracy(
                generator, gallery, encoder, neighbours=neighbours if rung == "retrieved" else 0, count=events,
                sampling=sampling or Sampling(), progress=progress,
            )  # fmt: skip
    return GenerationReport(judge.name, neighbours, real_lengths, tuple(rows), gains(rows), told)


def gains(rows: Sequence[Figures]) -> tuple[Gain, ...]:
    """What neighbours bring over every other rung; nothing where there is no row of them."""
    own = next((row for row in rows if row.name == "retrieved"), None)
    if own is None:
        return ()
    return tuple(
        Gain(
            row.name,
            paired_difference(own.hits, row.hits, rng=np.random.default_rng(0)),
            paired_difference(own.distances, row.distances, rng=np.random.default_rng(0)),
            own.fid.value / max(row.fid.value, 1e-12),
        )
        for row in rows
        if row.name not in ("real", "retrieved")
    )


def event_accuracy(
    generator: Generator,
    gallery: Sequence[Clip],
    encoder: DualEncoder,
    *,
    neighbours: int,
    count: int,
    sampling: Sampling,
    progress: Progress | None = None,
) -> dict[str, float | None]:
    """Share of ``count`` motions for each event prompt that do what the sentence says, by aspect."""
    motion = encoder.encode_motion(list(gallery)).whole
    rows, scores = nearest(encoder.encode_text([e.text for e in EVENTS]).whole, motion, max(neighbours, 1))
    prompts = []
    for event, near, score in zip(EVENTS, rows, scores, strict=True):
        found = tuple(
            ExemplarClip(gallery[i], float(s), caption_of(gallery[i], 0).text)
            for i, s in zip(near[:neighbours], score[:neighbours], strict=True)
        )
        prompts += [Prompt(event.text, seconds=EVENT_SECONDS, seed=seed + 1, exemplars=found) for seed in range(count)]
    made = []
    for done, result in enumerate(generator.generate(prompts, sampling=sampling), start=1):
        made.append(result.clip)
        if progress is not None:
            progress("events", done, len(prompts))
    return accuracy(EVENTS, [made[i : i + count] for i in range(0, len(made), count)])
