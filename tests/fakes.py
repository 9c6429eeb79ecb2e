"""Fakes that stand for weights: deterministic, without torch, in no time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import Embeddings, EncoderSpec
from motion import PARTS, SMPL_22, Clip

T_POSE = {  # metres from the parent; the right side mirrors the left
    "spine1": (0, 0.11, 0), "spine2": (0, 0.13, 0), "spine3": (0, 0.06, 0), "neck": (0, 0.21, 0),
    "head": (0, 0.1, 0.03), "left_hip": (0.09, -0.06, 0), "left_knee": (0, -0.39, 0), "left_ankle": (0, -0.42, 0),
    "left_foot": (0, -0.06, 0.13), "left_collar": (0.07, 0.11, 0), "left_shoulder": (0.11, 0.04, 0),
    "left_elbow": (0.2, -0.2, 0), "left_wrist": (0.2, -0.15, 0.05),
}  # fmt: skip


def somebody(seconds: float = 3.0, *, seed: int = 0, fps: float = 20.0) -> NDArray[np.float32]:
    """Joints [T, 22, 3] of a person who wanders and swings limbs, another one for every seed."""
    rng = np.random.default_rng(seed)
    steps = np.arange(round(seconds * fps)) / fps
    joints = np.zeros((len(steps), len(SMPL_22), 3))
    joints[:, 0] = np.stack([0.1 * np.sin(steps), np.full(len(steps), 0.95), rng.uniform(0.2, 1.2) * steps], axis=-1)
    offsets = {SMPL_22.index(name): np.array(offset, dtype=float) for name, offset in T_POSE.items()}
    offsets |= {right: offsets[left] * (-1, 1, 1) for left, right in SMPL_22.mirror}
    for joint in range(1, len(SMPL_22)):
        swing = rng.uniform(0, 0.5) * np.sin(rng.uniform(2, 6) * steps + rng.uniform(0, 6))
        turned = np.stack([np.cos(swing), np.sin(swing)])
        x, y, z = offsets[joint]
        bone = np.stack([np.full(len(steps), x), y * turned[0] - z * turned[1], y * turned[1] + z * turned[0]], axis=-1)
        joints[:, joint] = joints[:, SMPL_22.parents[joint]] + bone
    return joints.astype(np.float32)


def write_takes(folder: Path, takes: Mapping[str, float], *, seed: int = 0) -> Path:
    """A folder of .npy files, name -> seconds; the names become captions where they hold words."""
    for number, (name, seconds) in enumerate(takes.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, somebody(seconds, seed=seed + number), allow_pickle=False)
    return folder


class FakeEncoder:
    """Hashed words as vectors: a clip lies where its first caption lies, one without captions where its frames do."""

    def __init__(self, *, name: str = "fake", dim: int = 16, fingerprint: str = "0123456789abcdef" * 2) -> None:
        self.spec = EncoderSpec(name, dim, PARTS, "humanml3d-263", 20.0, fingerprint)
        self.encoded = 0  # clips that passed through, so that tests can see what was left alone

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Whole [N, D] and parts [N, 6, D] of clips."""
        self.encoded += len(clips)
        words = [
            clip.captions[0].text if clip.captions else hashlib.sha256(clip.joints.round(3).tobytes()).hexdigest()
            for clip in clips
        ]
        return self._embed(words)

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Whole [N, D] and parts [N, 6, D] of sentences."""
        return self._embed(texts)

    def _embed(self, texts: Sequence[str]) -> Embeddings:
        dim = self.spec.dim
        both = np.stack([self._vectors(text) for text in texts]) if texts else np.zeros((0, 7, dim), np.float32)
        return Embeddings(both[:, 0], both[:, 1:])

    def _vectors(self, text: str) -> NDArray[np.float32]:
        """Whole and parts, [7, D]: the sum of a random vector for every word, of unit length."""
        total = np.full((1 + len(PARTS), self.spec.dim), 1e-3)
        for word in text.lower().replace(",", " ").split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
            total += np.random.default_rng(seed).standard_normal(total.shape)
        return (total / np.linalg.norm(total, axis=1, keepdims=True)).astype(np.float32)


def write_labelled(folder: Path, classes: Mapping[str, int], *, split: str = "test") -> Path:
    """A folder ``clips.parquet`` + ``joints.npz`` with so many clips of every class."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    unit, rows, blocks, start = 1e-4, [], [], 0
    for name, count in classes.items():
        for number in range(count):
            joints = np.round(somebody(1.5, seed=len(rows)) / unit).astype(np.int64)
            blocks.append(np.diff(joints, axis=0, prepend=0))
            texts = {"clip_id": f"fake/{name}_{number}", "source": "fake", "split": split, "take": f"{name}_{number}"}
            texts |= {"class_id": name, "class_text": f"a person {name}s", "license": "CC0", "capture": "optical"}
            texts |= dict.fromkeys(("subject", "style", "origin"), "")
            numbers = {"start_s": 0.0, "end_s": 1.5, "fps": 20.0, "n_frames": len(joints), "row_start": start}
            rows.append(texts | numbers | {"captions": []})
            start += len(joints)
    pq.write_table(pa.Table.from_pylist(rows), folder / "clips.parquet")
    np.savez(folder / "joints.npz", delta=np.concatenate(blocks).astype(np.int16), unit=unit)
    return folder
