"""Frames as they travel to a page: at most 120 bytes a frame of 22 joints, and the error said.

- The root is kept to a tenth of a millimetre, the other joints as their offset from it in 12 bits an axis between the lowest
  and the highest value of the clip; where that would err by more than :data:`MOST_ERROR`, in 16 bits.
- The header says how much a joint is off at most, measured on the very bytes that follow it.
- Byte for byte: docs/studio.md. :func:`decode_frames` is the same in Python as the page's decoder.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion import Clip, MotionError, Skeleton

MAGIC = b"RMF1"
ROOT_STEP = 1e-4  # metres
MOST_ERROR = 1e-3  # metres
STAND_HEIGHT, STAND_SPEED = 0.08, 0.35  # metres over the clip's floor, metres a second in the plane


def encode_frames(clip: Clip) -> bytes:
    """Joints [T, J, 3] and foot contacts of a clip as bytes.

    Raises:
        MotionError: the clip lies farther from the origin than any person walks (100 km), or is not finite.
    """
    joints = np.asarray(clip.joints, np.float64)
    if not np.isfinite(joints).all() or np.abs(joints).max() > 1e5:
        raise MotionError(f"clip {clip.clip_id!r} has joints that are no positions in metres; verify the library")
    root = np.rint(joints[:, 0] / ROOT_STEP).astype("<i4")
    offsets = joints[:, 1:] - (root * ROOT_STEP)[:, None]
    low = offsets.min(axis=(0, 1)) if offsets.size else np.zeros(3)
    high = offsets.max(axis=(0, 1)) if offsets.size else np.zeros(3)
    for bits in (12, 16):
        step = np.maximum(high - low, 1e-9) / (2**bits - 1)
        values = np.rint((offsets - low) / step).astype("<u2")
        back = (
            np.concatenate([np.zeros((len(joints), 1, 3)), low + values * step], axis=1) + (root * ROOT_STEP)[:, None]
        )
        error = float(np.linalg.norm(back - joints, axis=-1).max())
        if error <= MOST_ERROR:
            break
    head = {
        "clip_id": clip.clip_id, "frames": len(joints), "fps": float(clip.fps), "skeleton": clip.skeleton.name,
        "names": clip.skeleton.names, "parents": clip.skeleton.parents, "root_step_m": ROOT_STEP,
        "low": [float(value) for value in low], "step": [float(value) for value in step], "bits": bits,
        "max_error_m": round(error, 6),
    }  # fmt: skip
    text = json.dumps(head, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    contacts = foot_contacts(joints, clip.skeleton, clip.fps).tobytes()
    contacts += bytes(-len(contacts) % 4)
    packed = values.tobytes() if bits == 16 else pack12(values.ravel())
    return MAGIC + struct.pack("<I", len(text)) + text + root.tobytes() + contacts + packed


def decode_frames(data: bytes) -> tuple[dict[str, Any], NDArray[np.float32], NDArray[np.uint8]]:
    """Header, joints [T, J, 3] and contacts [T] of :func:`encode_frames`."""
    if data[:4] != MAGIC:
        raise MotionError("these bytes are no frames of a studio; ask /api/frames for some")
    (size,) = struct.unpack_from("<I", data, 4)
    head = json.loads(data[8 : 8 + size])
    count, joints, at = head["frames"], len(head["names"]), 8 + size
    root = np.frombuffer(data, "<i4", count * 3, at).reshape(count, 1, 3) * head["root_step_m"]
    at += count * 12
    contacts = np.frombuffer(data, np.uint8, count, at)
    at += count + -count % 4
    number = count * (joints - 1) * 3
    values = np.frombuffer(data, "<u2", number, at) if head["bits"] == 16 else unpack12(data[at:], number)
    offsets = np.array(head["low"]) + values.reshape(count, joints - 1, 3) * np.array(head["step"])
    return head, np.concatenate([root, root + offsets], axis=1).astype(np.float32), contacts


def pack12(values: NDArray[np.uint16]) -> bytes:
    """Numbers below 4096, two in three bytes; an odd last one is followed by a zero."""
    pairs = np.append(values, np.zeros(len(values) % 2, values.dtype)).reshape(-1, 2).astype(np.uint32)
    first, second = pairs[:, 0], pairs[:, 1]
    three = np.stack([first & 255, first >> 8 | (second & 15) << 4, second >> 4], axis=1)
    return three.astype(np.uint8).tobytes()


def unpack12(data: bytes, count: int) -> NDArray[np.uint16]:
    """The inverse of :func:`pack12`."""
    three = np.frombuffer(data, np.uint8, (count + 1) // 2 * 3).reshape(-1, 3).astype(np.uint16)
    pairs = np.stack([three[:, 0] | (three[:, 1] & 15) << 8, three[:, 1] >> 4 | three[:, 2] << 4], axis=1)
    return pairs.ravel()[:count]


def foot_contacts(joints: NDArray[np.float64], skeleton: Skeleton, fps: float) -> NDArray[np.uint8]:
    """One byte a frame [T]: bit 0 left ankle, 1 left toe, 2 right ankle, 3 right toe stands (low and slow)."""
    feet = [skeleton.ankles[0], skeleton.toes[0], skeleton.ankles[1], skeleton.toes[1]]
    places = joints[:, feet]
    lowest = np.quantile(places[..., 1], 0.05, axis=0)  # each joint over its own lowest height: ankles stand higher
    speed = np.zeros(places.shape[:2])
    if len(joints) > 1:
        speed = np.linalg.norm(np.gradient(places[..., [0, 2]], axis=0), axis=-1) * fps
    stands = (places[..., 1] < lowest + STAND_HEIGHT) & (speed < STAND_SPEED)
    return np.asarray((stands << np.arange(4)).sum(axis=-1), np.uint8)
