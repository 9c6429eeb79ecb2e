"""Does a motion obey the floor and its own bones? Measures that need no model; thresholds are part of each definition.

- y up, floor at 0, metres, seconds. Real motion is not zero on any of these: print its row beside.
- Feet are the toe joints: the ankle is up in the air when somebody stands on it.
- Everything is measured at 20 frames per second, since steps and third differences depend on the rate.

Definitions after common use (GMD and PhysDiff line for skating, penetration and float); the field has no single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.geometry import resample
from motion.skeleton import Skeleton

FPS = 20.0
SKATE_HEIGHT = 0.05  # metres: a toe lower than this in two frames running is on the floor
SKATE_SPEED = 0.5  # metres a second: faster than this while on the floor is skating


@dataclass(frozen=True)
class Physics:
    """Measures of one motion, or means of several.

    ``foot_skate``: share of frame pairs in which a toe is under 5 cm in both frames and moves over .5 m/s in the plane;
    ``slide_m_s``: metres a second a toe moves in the plane, weighted by 2 - 2^(h / 5 cm), h its height, at most 5 cm;
    ``penetration_mm``, ``float_mm``: mean depth of the lowest joint under, and mean height over the floor;
    ``jerk_m_s3``: mean length of the third difference over joints; ``bone_length_error_pct``: mean over bones of the deviation
    of a bone's length over time, in percent of its mean length.
    """

    foot_skate: float
    slide_m_s: float
    penetration_mm: float
    float_mm: float
    jerk_m_s3: float
    bone_length_error_pct: float


def physics(joints: NDArray[np.floating[Any]], skeleton: Skeleton, fps: float) -> Physics:
    """Measures of joints [T, J, 3] at ``fps``, floor at 0."""
    x = resample(np.asarray(joints, np.float32), fps, FPS).astype(np.float64)
    lowest = x[..., 1].min(-1)
    parents = np.array(skeleton.parents)
    bones = np.linalg.norm(x[:, 1:] - x[:, parents[1:]], axis=-1)
    size = bones.mean(0)
    deviation = (bones.std(0) / np.maximum(size, 1e-9))[size > 1e-6]
    skate = slide = jerk = 0.0
    if len(x) > 1:
        toes = x[:, list(skeleton.toes)]
        speed = np.linalg.norm(np.diff(toes[..., [0, 2]], axis=0), axis=-1) * FPS  # [T - 1, 2]
        height = np.maximum(toes[:-1, :, 1], toes[1:, :, 1])
        down = height < SKATE_HEIGHT
        skate = float((down & (speed > SKATE_SPEED)).any(-1).mean())
        weight = np.where(down, 2 - 2 ** (np.clip(height, 0, SKATE_HEIGHT) / SKATE_HEIGHT), 0)
        slide = float((speed * weight).mean())
    if len(x) > 3:
        jerk = float(np.linalg.norm(np.diff(x, n=3, axis=0), axis=-1).mean() * FPS**3)
    return Physics(
        foot_skate=skate,
        slide_m_s=slide,
        penetration_mm=1000 * float(np.maximum(0, -lowest).mean()),
        float_mm=1000 * float(np.maximum(0, lowest).mean()),
        jerk_m_s3=jerk,
        bone_length_error_pct=100 * float(deviation.mean()) if len(deviation) else 0.0,
    )


def mean_physics(several: Sequence[Physics]) -> Physics:
    """The mean of each measure over motions; every motion counts once."""
    return Physics(*(float(np.mean(column)) for column in zip(*map(astuple, several), strict=True)))
