"""Clips one after the other: the next begins where the last one stood, looking where it looked.

- The seam is inertial: what the next clip's first pose lacks to the last one's is added to it and fades out smoothly. Both
  clips keep their timing, no frame is lost, and speed does not jump.
- Captions become those of the seconds that their clip takes up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motion.clip import Caption, Clip, Source
from motion.errors import MotionError
from motion.geometry import facing, resample, turn, yaw_of


def join(clips: Sequence[Clip], *, seam_s: float = 0.4) -> Clip:
    """One clip of several of the same skeleton, at the rate of the first; captions carry the seconds of their clip.

    Args:
        clips: one or more.
        seam_s: seconds over which the difference of poses fades.

    Raises:
        MotionError: there is none, or their skeletons differ.
    """
    if not clips:
        raise MotionError("there is nothing to join: no clips were given")
    first = clips[0]
    strangers = {clip.skeleton.name for clip in clips} - {first.skeleton.name}
    if strangers:
        raise MotionError(f"clips of {first.skeleton.name} and {strangers.pop()} cannot be joined; retarget them first")
    pieces: list[NDArray[np.float64]] = []
    captions: list[Caption] = []
    start = 0.0
    for clip in clips:
        joints = resample(clip.joints, clip.fps, first.fps).astype(np.float64)
        if pieces:
            joints = _follow(pieces[-1], joints, clip, round(seam_s * first.fps))
        end = start + len(joints) / first.fps
        captions += [_placed(caption, start, end) for caption in clip.captions]
        pieces.append(joints)
        start = end
    source = Source(dataset=first.source.dataset, split=first.source.split, end_s=start)
    return Clip(
        np.concatenate(pieces).astype(np.float32), first.skeleton, first.fps, tuple(captions), source
    )  # fmt: skip


def _follow(before: NDArray[np.float64], joints: NDArray[np.float64], clip: Clip, seam: int) -> NDArray[np.float64]:
    """``joints`` moved and turned to where ``before`` ended, their first ``seam`` frames bent towards its last pose."""
    here, there = facing(joints[:1], clip.skeleton), facing(before[-1:], clip.skeleton)
    joints = turn(joints - joints[0, 0] * (1, 0, 1), yaw_of(there)[0] - yaw_of(here)[0])
    joints = joints + before[-1, 0] * (1, 0, 1)
    fade = np.clip(1 - np.arange(1, len(joints) + 1) / (seam + 1), 0, 1)
    fade = fade * fade * (3 - 2 * fade)
    return np.asarray(joints + fade[:, None, None] * (before[-1] - joints[0]), np.float64)


def _placed(caption: Caption, start: float, end: float) -> Caption:
    if caption.end_s <= caption.start_s:
        return replace(caption, start_s=start, end_s=end)
    return replace(caption, start_s=start + caption.start_s, end_s=min(start + caption.end_s, end))
