"""How well motion comes back from its tokens: in joint space, by how codebooks are used, and for a search by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder
from generator.frames import clip_to_frames, frames_to_joints
from generator.tokenizer import Tokenizer, kind_of
from motion import Clip

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Reconstruction:
    """Mean errors over all frames of all clips.

    ``mpjpe_mm``: joints with both roots at the origin (heading as decoded); ``pa_mpjpe_mm``: after the best rotation, size and
    place of every frame; ``global_mm``: with the root's path; ``acceleration``: mean length of the difference of accelerations,
    metres a second squared.
    """

    mpjpe_mm: float
    pa_mpjpe_mm: float
    global_mm: float
    acceleration: float
    frames: int


def reconstruction(pairs: Sequence[tuple[Array, Array]], fps: float) -> Reconstruction:
    """Errors of ``pairs`` of true and rebuilt joints [T, J, 3]."""
    local, procrustes, placed, change = [], [], [], []
    for true, made in pairs:
        local.append(distance(true - true[:, :1], made - made[:, :1]))
        procrustes.append(distance(true, aligned(made, true)))
        placed.append(distance(true, made))
        if len(true) > 2:
            difference = np.diff(true, n=2, axis=0) - np.diff(made, n=2, axis=0)
            change.append(np.linalg.norm(difference, axis=-1).mean(-1) * fps**2)
    frames = sum(len(x) for x in local)
    return Reconstruction(
        mpjpe_mm=1000 * float(np.concatenate(local).mean()),
        pa_mpjpe_mm=1000 * float(np.concatenate(procrustes).mean()),
        global_mm=1000 * float(np.concatenate(placed).mean()),
        acceleration=float(np.concatenate(change).mean()) if change else 0.0,
        frames=frames,
    )


def distance(a: Array, b: Array) -> NDArray[np.float64]:
    """Mean distance of the joints, per frame [T]."""
    return np.asarray(np.linalg.norm(np.asarray(a, np.float64) - b, axis=-1).mean(-1))


def aligned(made: Array, true: Array) -> NDArray[np.float64]:
    """``made`` [T, J, 3] turned, scaled and moved onto ``true``, frame by frame (orthogonal Procrustes)."""
    a, b = np.asarray(made, np.float64), np.asarray(true, np.float64)
    ca, cb = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    a, b = a - ca, b - cb
    u, s, vt = np.linalg.svd(np.swapaxes(a, 1, 2) @ b)
    flip = np.ones_like(s)
    flip[:, -1] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[:, None]) @ vt
    scale = (s * flip).sum(-1) / np.maximum((a**2).sum((1, 2)), 1e-12)
    return np.asarray(scale[:, None, None] * (a @ rotation) + cb)


@dataclass(frozen=True)
class TokenReport:
    """Reconstruction by source ("all" first), and how codebooks are used.

    ``use``: share of codes that occur, ``perplexity``: exp of their entropy; both [levels] for every kind of part.
    """

    sources: Mapping[str, Reconstruction]
    clips: Mapping[str, int]
    use: Mapping[str, list[float]]
    perplexity: Mapping[str, list[float]]
    recall: Mapping[str, tuple[float, float]] = field(
        default_factory=dict
    )  # R@1 of real and of rebuilt clips, see recalls


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
    """R@1 in a gallery of real and of rebuilt clips, under names that tell how many questions there are.

    Text to motion by class sentence, by human caption, and by both; motion to text among the class sentences.
    """
    vectors = [encoder.encode_motion(list(side)).whole for side in (real, made)]
    hits: dict[str, list[NDArray[np.bool_]]] = {}
    classes = {c.labels["class_id"]: c.labels["class_text"] for c in real if c.labels.get("class_text")}
    if classes:
        own = np.array([c.labels.get("class_id", "") for c in real])
        text = encoder.encode_text(list(classes.values())).whole
        names = np.array(list(classes))
        hits["class sentences"] = [own[(text @ v.T).argmax(1)] == names for v in vectors]
    told = [i for i, c in enumerate(real) if any(x.kind == "human" for x in c.captions)]
    if told:
        said = [next(x.text for x in real[i].captions if x.kind == "human") for i in told]
        spoken, words = encoder.encode_text(said).whole, np.array(said)
        hits["human captions"] = [words[(spoken @ v[told].T).argmax(1)] == words for v in vectors]
    if len(hits) > 1:
        hits["sentences of both kinds"] = [np.concatenate(pair) for pair in zip(*hits.values(), strict=True)]
    if classes:
        named = np.isin(own, names)
        hits["clips, to their class sentence"] = [(names[(text @ v.T).argmax(0)] == own)[named] for v in vectors]
    return {f"{len(a)} {name}": (float(a.mean()), float(b.mean())) for name, (a, b) in hits.items()}
