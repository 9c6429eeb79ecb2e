"""Does a generated motion do what the sentence says? Rules on joints, no model: right action, side, count and order.

- A rule reads one thing off the joints: which wrist rises over the shoulder, which way the body turns, how often it leaves the
  floor. Each prompt names what must be seen; what it does not name is not judged.
- The rules are held against procedural motion of the same meaning (``motion.synth``): its row is the ceiling.
- In "A, then B" the first rule must hold in the first part of the motion and the second in the rest; the parting point may lie
  anywhere between a quarter and three quarters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion import Clip
from motion.geometry import facing, to_canonical, to_reference_bones, turn, yaw_of
from motion.skeleton import Skeleton

Rule = Callable[["Seen"], bool]
ASPECTS = ("action", "side", "count", "order")


@dataclass(frozen=True)
class Seen:
    """What the rules look at: canonical joints [T, J, 3] with reference bones, at ``fps``."""

    joints: NDArray[np.float64]
    skeleton: Skeleton
    fps: float

    def part(self, start: float, end: float) -> Seen:
        """The share ``start`` to ``end`` of the motion, where it starts facing +z again."""
        first, last = round(start * len(self.joints)), max(round(end * len(self.joints)), 2)
        joints = self.joints[first:last] - np.array([1.0, 0.0, 1.0]) * self.joints[first, 0]
        return Seen(turn(joints, -yaw_of(facing(joints[:1], self.skeleton))[0]), self.skeleton, self.fps)

    def joint(self, name: str) -> NDArray[np.float64]:
        """Positions [T, 3] of a joint."""
        return self.joints[:, self.skeleton.index(name)]

    def raised(self, side: str) -> bool:
        """The wrist comes up to the shoulder or higher."""
        return bool((self.joint(f"{side}_wrist")[:, 1] > self.joint(f"{side}_shoulder")[:, 1] - 0.12).mean() > 0.15)

    def waving(self, side: str) -> bool:
        """The wrist is raised over the elbow and goes to and fro."""
        up = self.joint(f"{side}_wrist")[:, 1] > self.joint(f"{side}_elbow")[:, 1] + 0.05
        speed = np.linalg.norm(np.diff(self.joint(f"{side}_wrist") - self.joints[:, 0], axis=0), axis=-1) * self.fps
        return bool(up.mean() > 0.25 and speed[up[1:]].size and speed[up[1:]].mean() > 0.15)

    def kicked(self, side: str) -> bool:
        """The ankle comes well up and away from the body, above the other one."""
        own, other = self.joint(f"{side}_ankle"), self.joint(f"{'left' if side == 'right' else 'right'}_ankle")
        away = np.linalg.norm((own - self.joints[:, 0])[:, [0, 2]], axis=-1)
        return bool(((own[:, 1] - other[:, 1] > 0.2) & (away > 0.28)).any())

    def turned(self) -> float:
        """Net turn in radians, left positive."""
        yaw = np.unwrap(yaw_of(facing(self.joints, self.skeleton)))
        return float(yaw[-1] - yaw[0])

    def travelled(self) -> tuple[float, float]:
        """Net way to the left and forward, metres, as faced at the start."""
        way = self.joints[-1, 0] - self.joints[0, 0]
        return float(way[0]), float(way[2])

    def speed(self) -> float:
        """Mean speed of the root in the plane, m/s."""
        return float(np.linalg.norm(np.diff(self.joints[:, 0][:, [0, 2]], axis=0), axis=-1).mean() * self.fps)

    def flights(self) -> int:
        """How often both feet leave the floor while the pelvis rises."""
        toes = np.minimum(self.joint("left_foot")[:, 1], self.joint("right_foot")[:, 1])
        up = (toes > np.quantile(toes, 0.1) + 0.07) & (self.joints[:, 0, 1] > np.median(self.joints[:, 0, 1]) + 0.03)
        return int((np.diff(np.concatenate([[0], up.astype(int)])) == 1).sum())

    def lowered(self) -> float:
        """Metres the pelvis sinks under where it stands."""
        height = self.joints[:, 0, 1]
        return float(np.quantile(height, 0.95) - height.min())

    def sinks(self) -> int:
        """How often the pelvis goes down and comes up again."""
        height = self.joints[:, 0, 1]
        low = height < (np.quantile(height, 0.95) + height.min()) / 2
        return int((np.diff(np.concatenate([[0], low.astype(int)])) == 1).sum()) if self.lowered() > 0.15 else 0


@dataclass(frozen=True)
class Event:
    """A sentence and the rule of one aspect it must keep; ``then``: the rule of what must follow."""

    text: str
    aspect: str
    rule: Rule
    then: Rule | None = None


def _walks(s: Seen) -> bool:
    return s.speed() > 0.35 and s.travelled()[1] > 0.3


def _waves(s: Seen) -> bool:
    return s.waving("left") or s.waving("right")


EVENTS: tuple[Event, ...] = (
    Event("a person walks forward", "action", _walks),
    Event("a person runs", "action", lambda s: s.speed() > 1.2),
    Event("a person jumps", "action", lambda s: s.flights() > 0),
    Event("a person squats", "action", lambda s: s.lowered() > 0.2),
    Event("a person waves with both hands", "action", lambda s: s.waving("left") and s.waving("right")),
    Event("a person raises both hands", "action", lambda s: s.raised("left") and s.raised("right")),
    Event("a person sits down", "action", lambda s: s.lowered() > 0.2),
    Event("a person walks backwards", "action", lambda s: s.travelled()[1] < -0.3),
    Event("a person waves with the left hand", "side", lambda s: s.waving("left") and not s.raised("right")),
    Event("a person waves with the right hand", "side", lambda s: s.waving("right") and not s.raised("left")),
    Event("a person raises the left hand", "side", lambda s: s.raised("left") and not s.raised("right")),
    Event("a person raises the right hand", "side", lambda s: s.raised("right") and not s.raised("left")),
    Event("a person kicks with the left foot", "side", lambda s: s.kicked("left") and not s.kicked("right")),
    Event("a person kicks with the right foot", "side", lambda s: s.kicked("right") and not s.kicked("left")),
    Event("a person walks and turns left", "side", lambda s: s.turned() > 0.5),
    Event("a person walks and turns right", "side", lambda s: s.turned() < -0.5),
    Event("a person jumps once", "count", lambda s: s.flights() == 1),
    Event("a person jumps twice", "count", lambda s: s.flights() == 2),
    Event("a person squats once", "count", lambda s: s.sinks() == 1),
    Event("a person squats twice", "count", lambda s: s.sinks() == 2),
    Event("a person walks forward, then waves with the right hand", "order", _walks, _waves),
    Event("a person walks forward, then squats", "order", _walks, lambda s: s.lowered() > 0.2),
    Event("a person jumps, then walks forward", "order", lambda s: s.flights() > 0, _walks),
    Event("a person squats, then raises both hands", "order", lambda s: s.lowered() > 0.2, lambda s: s.raised("left")),
)


def seen(clip: Clip) -> Seen:
    """A clip as the rules look at it."""
    joints = to_canonical(to_reference_bones(clip.joints, clip.skeleton), clip.skeleton)
    return Seen(joints.astype(np.float64), clip.skeleton, clip.fps)


def holds(event: Event, clip: Clip) -> bool:
    """Whether a motion keeps the rule of an event."""
    what = seen(clip)
    if len(what.joints) < 8:
        return False
    if event.then is None:
        return event.rule(what)
    return any(event.rule(what.part(0, s)) and event.then(what.part(s, 1)) for s in (0.25, 0.4, 0.5, 0.6, 0.75))


def accuracy(events: Sequence[Event], clips: Sequence[Sequence[Clip]]) -> dict[str, Any]:
    """Share of motions that keep their rule, by aspect and over all; ``clips`` holds the motions of each event."""
    found: dict[str, list[bool]] = {aspect: [] for aspect in ASPECTS}
    for event, motions in zip(events, clips, strict=True):
        found[event.aspect] += [holds(event, clip) for clip in motions]
    every = [value for values in found.values() for value in values]
    return {aspect: float(np.mean(v)) if v else None for aspect, v in found.items()} | {
        "all": float(np.mean(every)), "motions": len(every),
    }  # fmt: skip
