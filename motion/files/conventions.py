"""What motion files do not say, and how it is guessed: unit, up axis, frame rate, a calibration pose in front.

- Each guess is a pure function of the joints; a reader writes what was assumed into the clip's notes.
- The unit comes from the leg: nobody's measures a tenth or ten times of another's. Metres, centimetres and millimetres
  are tried first; inches and the CMU unit (1/0.45 inch) only where those give no leg of a human.
- y is up unless the rest pose or the motion says otherwise beyond doubt: people lie down, floors do not stand up.
- Printed frame times are rounded: 0.0333 means 30 frames per second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion.retarget import leg_length
from motion.skeleton import SMPL_22

CMU_UNIT = 0.0254 / 0.45  # metres
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "1/0.45 inch": CMU_UNIT, "inch": 0.0254}
TYPICAL_LEG = 0.82  # metres, hip to ankle
PLAIN_LEGS = (0.3, 1.6)  # metres: with a leg in this range metres, centimetres or millimetres need no further thought
RATES = (20.0, 24.0, 25.0, 30.0, 50.0, 60.0, 90.0, 100.0, 120.0, 150.0, 240.0, 250.0, 12.5, 29.97, 59.94)
MIN_RATE, MAX_RATE = 0.5, 2000.0


def guess_unit(leg: float, *, cmu_names: bool = False) -> tuple[float, str]:
    """Metres per file unit and the unit's name, from the length hip-knee-ankle in file units.

    A leg that no unit explains (a robot, a doll) keeps the nearest power of ten.
    """
    if cmu_names and 0.5 < leg * CMU_UNIT < 1.3:
        return CMU_UNIT, "1/0.45 inch"
    for name in ("m", "cm", "mm"):
        low, high = PLAIN_LEGS
        if low <= leg * UNITS[name] <= high:
            return UNITS[name], name
    name = min(UNITS, key=lambda unit: abs(np.log(max(leg, 1e-12) * UNITS[unit] / TYPICAL_LEG)))
    return UNITS[name], name


def guess_up(joints: NDArray[Any], expected: int = 1) -> int:
    """The up axis (0 x, 1 y, 2 z) of SMPL-22 ``joints`` [T, 22, 3], the ``expected`` one unless the body says
    otherwise.

    Another axis is believed when trunks point along it in most frames, ankles come down to its zero and the pelvis
    keeps a leg's length from there: somebody lying on the floor does none of the last two.
    """
    pelvis, neck = joints[:, 0], joints[:, SMPL_22.index("neck")]
    trunk = np.median(_unit(neck - pelvis), axis=0)
    axis = int(np.abs(trunk).argmax())
    if axis == expected or abs(trunk[axis]) < 0.85:
        return expected
    leg, sign = leg_length(joints[:1]), np.sign(trunk[axis])
    soles = np.percentile((joints[:, list(SMPL_22.ankles), axis] * sign).min(axis=1), 5)
    height = float(np.median(pelvis[:, axis])) * sign
    return axis if abs(soles) < 0.25 * leg and 0.6 * leg < height < 1.4 * leg else expected


def turn_up(positions: NDArray[Any], axis: int) -> NDArray[Any]:
    """Positions [..., 3] turned so that ``axis`` becomes y, by a rotation (left stays left)."""
    x, y, z = positions[..., 0], positions[..., 1], positions[..., 2]
    if axis == 2:
        return np.stack([x, z, -y], axis=-1)
    return np.stack([-y, x, z], axis=-1) if axis == 0 else positions


def snap_rate(text: str) -> float | None:
    """Frames per second from a printed frame time in seconds; None when it is no usable time.

    The nearest common rate is taken when it lies within the rounding of the print, or within 0.5 %.
    """
    try:
        seconds = float(text)
    except ValueError:
        return None
    if not (np.isfinite(seconds) and seconds > 0.0) or not MIN_RATE <= 1.0 / seconds <= MAX_RATE:
        return None
    decimals = len(text.split(".")[1]) if "." in text and "e" not in text.lower() else 12
    half_digit = min(0.5000001 * 10.0**-decimals, 0.1 * seconds)

    def off(rate: float) -> float:
        return abs(rate * seconds - 1.0)

    nearest = min(RATES, key=off)
    rounded = [rate for rate in RATES if rate == int(rate) and abs(1.0 / rate - seconds) <= half_digit]
    if off(nearest) > 1e-4 and rounded:
        nearest = min(rounded, key=off)
    return nearest if off(nearest) <= 0.005 or nearest in rounded else 1.0 / seconds


def starts_with_calibration(joints: NDArray[Any], fps: float) -> bool:
    """Whether frame 0 of SMPL-22 ``joints`` [T, 22, 3] is a T-pose or rest pose put in front of the motion.

    It is one when both arms stretch sideways or hang straight over straight vertical legs in it, and the body then
    jumps to frame 1 by far more than it ever moves in the frames that follow.
    """
    if len(joints) < 4:
        return False
    window = joints[: min(len(joints), 60)]
    local = window - window[:, :1]
    steps = np.linalg.norm(np.diff(local, axis=0), axis=-1).mean(axis=-1)
    leg = leg_length(window[:1])
    if (
        steps[0] < 0.04 * leg
        or steps[0] < 6.0 * float(np.median(steps[1:]))
        or steps[0] < 2.5 * np.percentile(steps[1:], 90)
    ):
        return False
    first = window[0].astype(np.float64)
    straight = []
    for hip, knee, ankle in zip(SMPL_22.hips, SMPL_22.knees, SMPL_22.ankles, strict=True):
        straight.append(_bend(first[hip], first[knee], first[ankle]))
        straight.append(abs(float(_unit(first[hip] - first[ankle])[1])))
    for side in ("left", "right"):
        arm = [first[SMPL_22.index(f"{side}_{joint}")] for joint in ("shoulder", "elbow", "wrist")]
        straight.append(_bend(*arm))
    return min(straight) > 0.93


def _bend(a: NDArray[Any], b: NDArray[Any], c: NDArray[Any]) -> float:
    """Cosine between the bones a-b and b-c: 1 for a straight limb."""
    return float(np.dot(_unit(b - a), _unit(c - b)))


def _unit(vectors: NDArray[Any]) -> NDArray[Any]:
    unit: NDArray[Any] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit
