"""What a motion is: joints over time, with where it came from and what people say about it.

- Positions, not rotations, are the common ground of all sources: rigs disagree about rest poses, not about where a wrist is.
- One frame of reference everywhere: metres, y up, right-handed, seconds. Readers convert at the door.
- A clip is immutable; ``replace`` from :mod:`dataclasses` makes variants.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motion.errors import MotionError
from motion.skeleton import Skeleton

CaptionKind = Literal["human", "template", "model"]


@dataclass(frozen=True)
class Caption:
    """One sentence about a clip; ``start_s``/``end_s`` are seconds inside the clip, both 0 for the whole of it."""

    text: str
    start_s: float = 0.0
    end_s: float = 0.0
    kind: CaptionKind = "human"
    tokens: tuple[str, ...] = ()  # "word/POS" as HumanML3D stores them, empty when unknown


@dataclass(frozen=True)
class Source:
    """Where a clip comes from: enough to find it again, to keep splits clean, and to know what one may do with it."""

    dataset: str = ""
    take: str = ""  # one recording: a path relative to the indexed folder, or the data set's take id
    start_s: float = 0.0  # span of the take, seconds
    end_s: float = 0.0
    subject: str = ""
    licence: str = ""
    origin: str = ""
    split: str = ""
    mirrored: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)  # what a reader assumed: unit, up axis, rig, mapping, ...


@dataclass(frozen=True)
class Clip:
    """Joints ``[T, J, 3]`` (float32, metres, y up, right-handed) of one skeleton at ``fps`` frames per second."""

    joints: NDArray[np.float32]
    skeleton: Skeleton
    fps: float
    captions: tuple[Caption, ...] = ()
    source: Source = field(default_factory=Source)
    labels: Mapping[str, str] = field(default_factory=dict)  # e.g. class_id, class_text, style
    clip_id: str = ""

    def __post_init__(self) -> None:
        shape = self.joints.shape
        if len(shape) != 3 or shape[1:] != (len(self.skeleton), 3) or shape[0] == 0:
            raise MotionError(
                f"joints have shape {list(shape)}, expected [T, {len(self.skeleton)}, 3] with T > 0 "
                f"for skeleton {self.skeleton.name!r}; retarget the clip or name its skeleton"
            )
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise MotionError(f"fps is {self.fps}, expected a positive number; give the true frame rate")

    def __len__(self) -> int:
        return len(self.joints)

    def __repr__(self) -> str:
        first = f", {self.captions[0].text!r}" if self.captions else ""
        return f"Clip({self.clip_id or self.source.take!r}, {len(self)} frames, {self.duration_s:.2f} s{first})"

    @property
    def duration_s(self) -> float:
        """Length in seconds: T / fps."""
        return len(self.joints) / self.fps

    def content_hash(self) -> str:
        """Hex digest (blake2b-256) of joints, rate, skeleton, captions and labels: equal hash means nothing changed."""
        digest = hashlib.blake2b(digest_size=32)
        digest.update(np.ascontiguousarray(self.joints, dtype="<f4").tobytes())
        meta = (self.skeleton.name, self.fps, self.captions, sorted(self.labels.items()), self.source.split)
        digest.update(repr(meta).encode())
        return digest.hexdigest()

    def cut(self, start_s: float, end_s: float) -> Clip:
        """The frames of ``start_s..end_s`` seconds (at least one frame), captions and source span shifted along."""
        first = min(max(round(start_s * self.fps), 0), len(self) - 1)
        last = max(min(round(end_s * self.fps), len(self)), first + 1)
        begin, end = first / self.fps, last / self.fps
        kept = []
        for caption in self.captions:
            if caption.end_s <= caption.start_s:
                kept.append(caption)
            elif caption.start_s < end and caption.end_s > begin:
                kept.append(
                    replace(caption, start_s=max(caption.start_s - begin, 0.0), end_s=min(caption.end_s, end) - begin)
                )
        source = replace(self.source, start_s=self.source.start_s + begin, end_s=self.source.start_s + end)
        return replace(self, joints=self.joints[first:last], captions=tuple(kept), source=source)


def with_source(clip: Clip, **changes: Any) -> Clip:
    """``clip`` with fields of its :class:`Source` replaced."""
    return replace(clip, source=replace(clip.source, **changes))
