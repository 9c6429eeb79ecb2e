"""Clips from the repertoire: one action or two in a row, a body, a heading, a tempo, and sentences that are true of it."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motion.clip import Caption, Clip, Source
from motion.geometry import turn
from motion.skeleton import SMPL_22
from motion.synth.actions import Moment, Track
from motion.synth.body import pose, rest_offsets
from motion.synth.words import REPERTOIRE, STYLES, SUBJECTS, Entry, Style

SEQUENCE_SHARE = 0.2
SEAM_S = 0.35
FLOWING = ("air", "drift")  # angles that are not blended over a seam


@dataclass(frozen=True)
class _Part:
    """One action of a clip: what, how, and its frames."""

    entry: Entry
    style: Style
    track: Track
    frames: int


def synthesise(n: int, *, seed: int, fps: float = 20.0, sequences: float = SEQUENCE_SHARE) -> list[Clip]:
    """``n`` clips of SMPL-22 motion, the same ones for the same seed.

    Every action of the repertoire comes up in turn. Labels: class_id, class_text, style, and ``events``: JSON
    ``[[text, start_s, end_s], ...]`` of what happens when. Captions are of kind "template". A share ``sequences`` of the
    clips has two actions one after the other.
    """
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(REPERTOIRE)) for _ in range(-(-max(n, 1) // len(REPERTOIRE)))])
    return [_clip(i, REPERTOIRE[order[i]], np.random.default_rng([seed, i]), seed, fps, sequences) for i in range(n)]


def _clip(number: int, entry: Entry, rng: np.random.Generator, seed: int, fps: float, sequences: float) -> Clip:
    parts = [_perform(entry, rng, fps)]
    if rng.random() < sequences:
        second = REPERTOIRE[rng.integers(len(REPERTOIRE))]
        if second.class_id not in (entry.class_id, "stand_up") and entry.class_id != "sit_down":
            parts.append(_perform(second, rng, fps))
    frames = sum(part.frames for part in parts)
    track = {name: values + _tremble(len(values), rng, name) for name, values in _join(parts, fps).items()}
    joints = pose(track, frames, rest_offsets() * _body(rng))
    joints = _settle(turn(joints, np.asarray(rng.uniform(-np.pi, np.pi))))
    labels, captions = _tell(parts, rng, fps)
    source = Source(
        dataset="synthetic", take=f"{number:05d}_{labels['class_id']}", end_s=frames / fps,
        subject=f"synthetic-{seed}-{number}",
        licence="CC0-1.0", origin="motion.synth", split="train",
    )  # fmt: skip
    return Clip(joints.astype(np.float32), SMPL_22, fps, captions, source, labels)


def _perform(entry: Entry, rng: np.random.Generator, fps: float) -> _Part:
    style = STYLES[0] if rng.random() < 0.55 else STYLES[rng.integers(1, len(STYLES))]
    tempo = style.tempo * rng.uniform(0.85, 1.18)
    size = style.size * rng.uniform(0.88, 1.12)
    seconds = entry.seconds / tempo if entry.once else entry.seconds * rng.uniform(0.8, 1.3)
    frames = int(np.clip(seconds, 1.4, 6.0) * fps)
    u = np.linspace(0, 1, frames)
    time = np.arange(frames) / fps
    rate = entry.rate * tempo
    if not entry.once:
        rate = max(round(rate * frames / fps), 1) / (frames / fps)  # whole cycles: it ends as it began
    return _Part(entry, style, entry.action(Moment(u, rate * time, size, 1 / fps)), frames)


def _join(parts: list[_Part], fps: float) -> Track:
    """Tracks one after the other; joint angles flow into each other, a heading goes on from where it was."""
    from scipy.ndimage import gaussian_filter1d  # half a second that a question need not wait for

    names = sorted({name for part in parts for name in part.track})
    seam = parts[0].frames
    joined: Track = {}
    for name in names:
        pieces = [part.track.get(name, np.zeros(part.frames)) for part in parts]
        if name == "yaw" and len(parts) > 1:
            pieces[1] = pieces[1] + pieces[0][-1]
        joined[name] = np.concatenate(pieces)
        if len(parts) > 1 and name not in FLOWING:
            smooth = gaussian_filter1d(joined[name], SEAM_S * fps / 2, mode="nearest")
            near = np.exp(-(((np.arange(len(smooth)) - seam) / (SEAM_S * fps)) ** 2))
            joined[name] = near * smooth + (1 - near) * joined[name]
    return joined


def _tremble(frames: int, rng: np.random.Generator, name: str) -> NDArray[np.float64]:
    """Small slow noise, radians: nobody moves like a formula. Flight and heading have none."""
    from scipy.ndimage import gaussian_filter1d  # half a second that a question need not wait for

    if name in FLOWING or name == "yaw":
        return np.zeros(frames)
    return np.asarray(gaussian_filter1d(rng.normal(size=frames), 4.0, mode="nearest") * 0.03)


def _body(rng: np.random.Generator) -> NDArray[np.float64]:
    """Factors [22, 1] of bone lengths: tall and small people, long and short limbs."""
    factors = np.full((len(SMPL_22), 1), rng.uniform(0.88, 1.12))
    for limb in (("knee", "ankle", "foot"), ("elbow", "wrist"), ("collar", "shoulder"), ("spine1", "spine2", "spine3")):
        factors[[i for i, name in enumerate(SMPL_22.names) if name.endswith(limb)]] *= rng.uniform(0.95, 1.05)
    return factors


def _settle(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lowest point of the clip on the floor, the first root over the origin."""
    joints = joints - joints[0, 0] * (1, 0, 1)
    joints[..., 1] -= joints[..., 1].min()
    return joints


def _tell(parts: list[_Part], rng: np.random.Generator, fps: float) -> tuple[dict[str, str], tuple[Caption, ...]]:
    start, events = 0.0, []
    for part in parts:
        end = start + part.frames / fps
        events.append([part.entry.says[0], round(start, 3), round(end, 3)])
        start = end
    plain = ", then ".join(part.entry.says[0] for part in parts)
    captions = [Caption(f"a person {plain}", kind="template")]
    for _ in range(rng.integers(1, 3)):
        said = []
        for part in parts:
            phrase = part.entry.says[rng.integers(len(part.entry.says))]
            adverb = part.style.adverbs[rng.integers(len(part.style.adverbs))]
            said.append(f"{phrase} {adverb}".strip())
        text = f"{SUBJECTS[rng.integers(len(SUBJECTS))]} {(', then ', ' and then ')[rng.integers(2)].join(said)}"
        if text not in {c.text for c in captions}:
            captions.append(Caption(text, kind="template"))
    labels = {
        "class_id": "_then_".join(part.entry.class_id for part in parts),
        "class_text": f"a person {plain}",
        "style": parts[0].style.name if len(parts) == 1 else "",
        "events": json.dumps(events),
    }
    return labels, tuple(captions)
