"""How good a generator is: tokens, the official protocol with a named evaluator, physics, novelty, and the control ladder.

- An evaluator maps captions and motions to vectors: the published one (``published``), where its files are given, or a
  text-motion encoder of our own. Their figures are never mixed; every table says which it was.
- The ladder makes the same captions with the same seeds from: real neighbours, none, random clips, and neighbours whose
  motions were exchanged among the prompts (shuffled). Retrieval helps only if the first beats the others.
- Lengths are the real clips' unless said otherwise (as most of the field does; estimated ones are harder).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from generator.errors import GeneratorError
from generator.exemplars import ExemplarClip, length_score
from generator.frames import clip_to_frames, frames_to_joints
from generator.metrics import Interval, diversity, fid, kid, mm_dist, multimodality, r_precision, repeated
from generator.model import LONGEST_S, Generated, Generator, Prompt
from generator.reconstruction import Reconstruction, reconstruction
from generator.sampling import Sampling, without_exemplars
from generator.tokenizer import Tokenizer, kind_of
from generator.train.corpus import family_of, nearest, said_of
from motion import Clip
from motion.physics import Physics, mean_physics, physics

Progress = Callable[[str, int, int], None]
LADDER = ("retrieved", "none", "random", "shuffled")
POOL = 32


# ---- tokens --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TokenReport:
    """Reconstruction by source ("all" first), and how codebooks are used.

    ``use``: share of codes that occur, ``perplexity``: exp of their entropy; both [levels] for every kind of part.
    """

    sources: Mapping[str, Reconstruction]
    clips: Mapping[str, int]
    use: Mapping[str, list[float]]
    perplexity: Mapping[str, list[float]]
    recall: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # R@1 of real and of rebuilt clips


def evaluate_tokenizer(model: Tokenizer, clips: Sequence[Clip], *, encoder: DualEncoder | None = None) -> TokenReport:
    """Rebuild clips from their tokens; with ``encoder`` also how well the rebuilt ones are found by text."""
    spec, patch = model.frames, model.config.patch
    kept = [(clip, clip_to_frames(clip, spec)) for clip in clips]
    kept = [(clip, x) for clip, x in kept if len(x) >= patch]
    ids = model.encode_frames([x for _, x in kept])
    rebuilt = [frames_to_joints(y, spec) for y in model.decode_ids(ids)]
    pairs = [(frames_to_joints(x[: len(y)], spec), y) for (_, x), y in zip(kept, rebuilt, strict=True)]
    names = [clip.source.dataset for clip, _ in kept]
    sources = {"all": reconstruction(pairs, spec.fps)}
    for name in sorted(set(names)):
        sources[name] = reconstruction([p for p, n in zip(pairs, names, strict=True) if n == name], spec.fps)
    use, perplexity = {}, {}
    for kind in dict.fromkeys(kind_of(row) for row in model.config.rows):
        rows = [i for i, row in enumerate(model.config.rows) if kind_of(row) == kind]
        flat = np.concatenate([x[rows].reshape(-1, x.shape[2]) for x in ids])
        counts = [np.bincount(flat[:, q], minlength=model.config.codes) for q in range(flat.shape[1])]
        use[kind] = [float((c > 0).mean()) for c in counts]
        shares = [c[c > 0] / c.sum() for c in counts]
        perplexity[kind] = [float(np.exp(-(s * np.log(s)).sum())) for s in shares]
    recall = {}
    if encoder is not None:
        made = [
            replace(clip, joints=y, fps=spec.fps, skeleton=spec.skeleton)
            for (clip, _), y in zip(kept, rebuilt, strict=True)
        ]
        real = [
            replace(clip, joints=x, fps=spec.fps, skeleton=spec.skeleton)
            for (clip, _), (x, _) in zip(kept, pairs, strict=True)
        ]
        recall = recalls(encoder, real, made)
    return TokenReport(
        sources, {"all": len(kept)} | {n: names.count(n) for n in sorted(set(names))}, use, perplexity, recall
    )


def recalls(encoder: DualEncoder, real: Sequence[Clip], made: Sequence[Clip]) -> dict[str, tuple[float, float]]:
    """R@1 of text to motion in a gallery of real and of rebuilt clips: by class sentence, by human caption."""
    vectors = [encoder.encode_motion(list(side)).whole for side in (real, made)]
    out = {}
    classes = {c.labels["class_id"]: c.labels["class_text"] for c in real if c.labels.get("class_text")}
    if classes:
        own = np.array([c.labels.get("class_id", "") for c in real])
        text = encoder.encode_text(list(classes.values())).whole
        names = np.array(list(classes))
        out["class sentences"] = tuple(float((own[(text @ v.T).argmax(1)] == names).mean()) for v in vectors)
    told = [i for i, c in enumerate(real) if any(x.kind == "human" for x in c.captions)]
    if told:
        said = [next(x.text for x in real[i].captions if x.kind == "human") for i in told]
        text = encoder.encode_text(said).whole
        words = np.array(said)
        out["human captions"] = tuple(float((words[(text @ v[told].T).argmax(1)] == words).mean()) for v in vectors)
    return out  # type: ignore[return-value]


# ---- generation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What is asked for: one caption a test clip, its length, its neighbours in the train split."""

    clips: list[Clip]
    captions: list[str]
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
    samples: tuple[NDArray[np.float32], ...] = field(repr=False, default=())  # vectors, one array a generation


def caption_of(clip: Clip, index: int) -> str:
    """The caption a test clip stands for: what a person said if anybody did, else its template, with its style."""
    human = [c.text for c in clip.captions if c.kind == "human"]
    if human:
        return human[index % len(human)]
    return clip.captions[0].text if clip.captions else clip.labels.get("class_text", "a person moves")


def make_task(test: Sequence[Clip], gallery: Sequence[Clip], encoder: DualEncoder, *, neighbours: int) -> Task:
    """Captions of the test clips and their neighbours in ``gallery``, by cosine and length, each take once."""
    clips = [c for c in test if c.duration_s >= 1.0]
    captions = [caption_of(c, i) for i, c in enumerate(clips)]
    motion = encoder.encode_motion(list(gallery)).whole
    rows, scores = nearest(encoder.encode_text(captions).whole, motion, 32)
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
                best.append(ExemplarClip(other, float(cosine), caption_of(other, 0)))
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
                replace(x, clip=(other := gallery[int(rng.integers(len(gallery)))]), caption=caption_of(other, 0))
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
        prompts.append(Prompt(caption, seconds=seconds, seed=seed * 100_003 + i + 1, exemplars=found))
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
    evaluator: DualEncoder,
    *,
    real: NDArray[np.float32],
    train: NDArray[np.float32],
    gallery: Sequence[Clip],
    copied: float = 0.0,
    repeats: int = 20,
) -> Figures:
    """The figures of ``motions`` (one list a generation of the whole task) in the evaluator's space."""
    text = evaluator.encode_text(task.captions).whole
    samples = [evaluator.encode_motion(list(clips)).whole for clips in motions]
    words = {caption: i for i, caption in enumerate(dict.fromkeys(task.captions))}
    groups = np.array([words[caption] for caption in task.captions])
    rows: dict[str, list[float]] = {key: [] for key in ("top1", "top2", "top3", "mm", "fid", "kid", "diversity")}
    for turn in range(repeats):
        rng = np.random.default_rng(turn)
        made = samples[turn % len(samples)]
        top = r_precision(text, made, rng=rng, pool=POOL, groups=groups, distinct=True)
        for k in range(3):
            rows[f"top{k + 1}"].append(float(top[k]))
        rows["mm"].append(mm_dist(text, made))
        rows["diversity"].append(diversity(made, rng=rng, pairs=min(300, len(made) // 2)))
    for made in samples:
        rows["fid"].append(fid(real, made))
        rows["kid"].append(kid(real, made))
    several = None
    if len(samples) > 1:
        stack = np.stack(samples, 1)
        several = repeated(
            [multimodality(stack, rng=np.random.default_rng(t), pairs=len(samples) // 2) for t in range(repeats)]
        )
    clips = [clip for some in motions for clip in some]
    return Figures(
        name=name, count=len(task.clips),
        r_precision=(repeated(rows["top1"]), repeated(rows["top2"]), repeated(rows["top3"])),
        mm_dist=repeated(rows["mm"]), fid=repeated(rows["fid"]), kid=repeated(rows["kid"]),
        diversity=repeated(rows["diversity"]), multimodality=several,
        physics=mean_physics([physics(c.joints, c.skeleton, c.fps) for c in clips]),
        nearest_mm=novelty(motions[0], samples[0], train, gallery), copied=copied, samples=tuple(samples),
    )  # fmt: skip


def novelty(
    clips: Sequence[Clip], vectors: NDArray[np.float32], train: NDArray[np.float32], gallery: Sequence[Clip]
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
    from motion.geometry import facing, to_reference_bones, turn, yaw_of

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
class GenerationReport:
    """The table of one evaluator: the real row first."""

    evaluator: str
    neighbours: int
    real_lengths: bool
    rows: tuple[Figures, ...]


def evaluate_generation(
    generator: Generator,
    *,
    test: Sequence[Clip],
    gallery: Sequence[Clip],
    encoder: DualEncoder,
    evaluator: DualEncoder,
    rungs: Sequence[str] = LADDER,
    neighbours: int = 2,
    sampling: Sampling | None = None,
    generations: int = 1,
    repeats: int = 20,
    real_lengths: bool = True,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> GenerationReport:
    """The control ladder: ``encoder`` retrieves, ``evaluator`` judges; ``generations`` motions a caption and rung.

    Raises:
        GeneratorError: retriever and evaluator are the same model, which would grade its own work.
    """
    if encoder.spec.fingerprint == evaluator.spec.fingerprint:
        raise GeneratorError("the evaluator is the retriever itself; name another encoder with --evaluator")
    task = make_task(test, gallery, encoder, neighbours=neighbours)
    real = evaluator.encode_motion(task.clips).whole
    train = evaluator.encode_motion(list(gallery)).whole
    common = {"real": real, "train": train, "gallery": gallery, "repeats": repeats}
    rows = [figures("real", [task.clips], task, evaluator, **common)]  # type: ignore[arg-type]
    for rung in rungs:
        turns = []
        for turn in range(generations):
            chosen = exemplars_for(task, rung, gallery, np.random.default_rng([7, turn]))
            turns.append(
                generate_all(
                    generator,
                    task,
                    chosen,
                    sampling=sampling or Sampling(),
                    seed=turn + 1,
                    real_lengths=real_lengths,
                    progress=progress,
                    stage=f"{rung} {turn + 1}",
                )
            )
        copied = copy_rate(turns[0], generator)
        motions = [[g.clip for g in turn] for turn in turns]
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            joints = {str(i): g.clip.joints for i, g in enumerate(turns[0])}
            np.savez(keep / f"{rung}.npz", allow_pickle=False, **joints)
        rows.append(figures(rung, motions, task, evaluator, copied=copied, **common))  # type: ignore[arg-type]
    return GenerationReport(evaluator.spec.name, neighbours, real_lengths, tuple(rows))
