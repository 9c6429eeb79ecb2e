"""How the angles move in each action. A function takes the phase of its action and gives angles over time.

- ``u`` [T] runs from 0 to 1 over an action; ``c`` counts cycles (steps, waves) for rhythmic ones; ``size`` scales the movement.
- One-sided actions are written once, for the left; ``mirrored`` exchanges the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Track = dict[str, NDArray[np.float64]]
Phase = NDArray[np.float64]
TAU = 2 * np.pi


@dataclass(frozen=True)
class Moment:
    """The time of an action: progress ``u`` [T] 0..1, cycles ``c`` [T], strength ``size``, step ``dt`` seconds."""

    u: Phase
    c: Phase
    size: float
    dt: float


Action = Callable[[Moment], Track]


def rise(u: Phase, start: float, end: float) -> Phase:
    """0 before ``start``, 1 after ``end``, smooth between."""
    x = np.clip((u - start) / (end - start), 0, 1)
    return x * x * (3 - 2 * x)


def hold(u: Phase, start: float, top: float, leave: float, end: float) -> Phase:
    """Up from ``start`` to ``top``, held, down from ``leave`` to ``end``."""
    return rise(u, start, top) - rise(u, leave, end)


def mirrored(action: Action) -> Action:
    """The same action with left and right exchanged; turns and leans to the side change sign."""

    def other(moment: Moment) -> Track:
        out = {}
        for name, values in action(moment).items():
            if name.startswith("left_"):
                name = name.replace("left_", "right_", 1)
            elif name.startswith("right_"):
                name = name.replace("right_", "left_", 1)
            elif name in ("yaw", "roll", "side", "twist", "head_yaw"):
                values = -values
            out[name] = values
        return out

    return other


def gait(
    *,
    stride: float,
    lift: float,
    arms: float,
    elbow: float,
    lean: float = 0.0,
    bounce: float = 0.0,
    reverse: bool = False,
) -> Action:
    """Walking and running of all kinds: legs in counter-phase, arms against them."""

    def action(m: Moment) -> Track:
        phase = TAU * m.c * (-1 if reverse else 1)
        start = hold(m.u, -0.1, 0.06, 0.94, 1.1)
        track: Track = {"lean": np.full_like(m.u, lean * m.size), "twist": 0.1 * arms * np.sin(phase) * start}
        for side, shift in (("left", 0.0), ("right", np.pi)):
            swing = np.sin(phase + shift)
            raised = np.clip(np.cos(phase + shift), 0, 1)  # the leg that swings forward is lifted
            track[f"{side}_hip_flex"] = (stride * m.size * swing + 0.35 * lift * raised + lean * 0.5) * start
            track[f"{side}_knee"] = 0.12 + (lift * m.size * raised**1.5 + 0.1 * (1 - swing)) * start
            track[f"{side}_ankle"] = -0.05 + 0.15 * np.clip(-swing, 0, 1) * start - 0.1 * raised * start
            track[f"{side}_arm_flex"] = -arms * m.size * swing * start + 0.1
            track[f"{side}_elbow"] = elbow + 0.15 * np.clip(-swing, 0, 1) * start
            track[f"{side}_arm_out"] = np.full_like(m.u, 0.12)
        if bounce:
            track["air"] = bounce * m.size * np.clip(np.sin(2 * phase + 0.6), 0, 1) * start
            track["drift"] = np.full_like(m.u, 2.0 * stride * m.size * m.dt * 1.6) * start
        return track

    return action


def turning(base: Action, total: float) -> Action:
    """``base`` along a curve that turns ``total`` radians to the left."""
    return lambda m: base(m) | {"yaw": total * rise(m.u, 0.05, 0.95), "side": np.full_like(m.u, -0.03 * np.sign(total))}


def march_in_place(m: Moment) -> Track:
    phase, out = TAU * m.c, {}
    for side, shift in (("left", 0.0), ("right", np.pi)):
        up = np.clip(np.sin(phase + shift), 0, 1)
        out[f"{side}_hip_flex"], out[f"{side}_knee"] = 1.2 * m.size * up, 1.3 * m.size * up
        out[f"{side}_arm_flex"] = -0.6 * np.sin(phase + shift)
        out[f"{side}_elbow"] = np.full_like(m.u, 0.5)
    return out


def turn_on_spot(m: Moment) -> Track:
    steps = march_in_place(m)
    small = {name: 0.3 * values for name, values in steps.items()}
    return small | {
        "yaw": (np.pi / 2 + 0.9 * (m.size - 1)) * rise(m.u, 0.15, 0.85),
        "head_yaw": 0.4 * hold(m.u, 0.05, 0.2, 0.5, 0.8),
    }


def sidestep(m: Moment) -> Track:
    """Steps to the left."""
    wave = (1 - np.cos(TAU * m.c)) / 2
    lead, follow = np.clip(np.sin(TAU * m.c), 0, 1), np.clip(-np.sin(TAU * m.c), 0, 1)
    return {
        "left_hip_out": 0.42 * m.size * wave, "right_hip_out": 0.42 * m.size * wave,
        "left_knee": 0.1 + 0.5 * lead, "left_hip_flex": 0.05 + 0.3 * lead,
        "right_knee": 0.1 + 0.5 * follow, "right_hip_flex": 0.05 + 0.3 * follow,
        "left_arm_out": 0.2 + 0.15 * wave, "right_arm_out": 0.2 + 0.15 * wave,
    }  # fmt: skip


def _crouch(depth: Phase, lean: float = 0.55) -> Track:
    track = {"lean": lean * depth}
    for side in ("left", "right"):
        track[f"{side}_hip_flex"] = (1.15 + lean) * depth
        track[f"{side}_knee"] = 2.0 * depth
        track[f"{side}_ankle"] = -0.75 * depth
    return track


def squat(m: Moment) -> Track:
    depth = (1 - np.cos(TAU * m.c)) / 2 * min(m.size, 1.15)
    return _crouch(depth) | {"left_arm_flex": 1.4 * depth, "right_arm_flex": 1.4 * depth}


def jump(m: Moment, *, forward: float = 0.0, height: float = 0.28) -> Track:
    """Crouch, fly, land; once a cycle."""
    f = m.c % 1.0
    down = hold(f, 0.0, 0.28, 0.3, 0.42) + 0.7 * hold(f, 0.62, 0.72, 0.75, 1.0)
    flight = np.clip((f - 0.4) / 0.25, 0, 1)
    air = 4 * height * m.size * flight * (1 - flight)
    swing = rise(f, 0.28, 0.42) - rise(f, 0.6, 0.85)
    track = _crouch(0.45 * down, 0.7) | {"air": air}
    for side in ("left", "right"):
        track[f"{side}_arm_flex"] = -0.7 * down + 2.2 * m.size * swing
        track[f"{side}_elbow"] = np.full_like(f, 0.25)
    if forward:
        track["drift"] = np.where(air > 0, forward * m.size * m.dt, 0.0)
    return track


def jump_forward(m: Moment) -> Track:
    return jump(m, forward=2.6)


def hop_left(m: Moment) -> Track:
    """On the left leg, the right one held up."""
    up = rise(m.u, 0, 0.1)
    f = m.c % 1.0
    flight = np.clip((f - 0.35) / 0.4, 0, 1)
    crouch = 0.3 * hold(f, 0.0, 0.2, 0.25, 0.4) + 0.2 * hold(f, 0.75, 0.85, 0.9, 1.0)
    return {
        "right_hip_flex": 0.5 * up, "right_knee": 1.5 * up, "left_knee": 0.15 + crouch, "left_hip_flex": 0.08 + 0.5 * crouch,
        "air": 4 * 0.12 * m.size * flight * (1 - flight), "left_arm_out": 0.5 * up, "right_arm_out": 0.5 * up,
        "drift": np.where(flight * (1 - flight) > 0, 0.5 * m.dt, 0.0), "left_ankle": -0.5 * crouch,
    }  # fmt: skip


def jumping_jack(m: Moment) -> Track:
    open_ = (1 - np.cos(TAU * m.c)) / 2
    track = {"air": 0.08 * np.abs(np.sin(TAU * m.c)) * m.size}
    for side in ("left", "right"):
        track[f"{side}_arm_out"] = 0.15 + 2.7 * open_ * min(m.size, 1.05)
        track[f"{side}_hip_out"] = 0.35 * open_ * m.size
        track[f"{side}_knee"] = 0.15 + 0.1 * np.sin(TAU * m.c) ** 2
    return track


def sit_down(m: Moment) -> Track:
    down = rise(m.u, 0.15, 0.7)
    settle = 0.25 * hold(m.u, 0.15, 0.5, 0.6, 0.95)
    track = _crouch(0.72 * down, 0.1) | {"bend": 0.9 * settle + 0.1 * down}
    for side in ("left", "right"):
        track[f"{side}_hip_flex"] = 1.5 * down + settle
        track[f"{side}_knee"] = 1.5 * down
        track[f"{side}_ankle"] = -0.05 * down
        track[f"{side}_arm_flex"] = 0.55 * down
        track[f"{side}_elbow"] = 0.6 * down
    return track


def stand_up(m: Moment) -> Track:
    return sit_down(Moment(1 - m.u, m.c, m.size, m.dt))


def kick_left(m: Moment) -> Track:
    f = m.c % 1.0
    back, out = hold(f, 0.05, 0.3, 0.32, 0.5), hold(f, 0.34, 0.52, 0.56, 0.9)
    return {
        "left_hip_flex": -0.45 * back + 1.35 * m.size * out, "left_knee": 1.1 * back + 0.15 * out, "left_ankle": 0.3 * out,
        "right_knee": 0.2 * (back + out), "right_hip_flex": 0.1 * (back + out), "lean": -0.22 * out + 0.1 * back,
        "right_arm_flex": 0.8 * out, "left_arm_flex": -0.6 * out, "left_arm_out": 0.35 * out, "right_arm_out": 0.3 * out,
    }  # fmt: skip


def punch_left(m: Moment) -> Track:
    f, guard = m.c % 1.0, rise(m.u, 0.0, 0.12)
    out = hold(f, 0.2, 0.38, 0.42, 0.75)
    return {
        "left_arm_flex": 0.75 * guard + 0.75 * out * m.size, "left_elbow": 2.1 * guard * (1 - out),
        "left_arm_out": 0.2 * guard * (1 - out),
        "right_arm_flex": 0.75 * guard, "right_elbow": 2.1 * guard, "right_arm_out": 0.2 * guard,
        "twist": -0.55 * out * m.size, "left_hip_flex": 0.35 * guard, "left_knee": 0.35 * guard, "right_hip_flex": -0.1 * guard,
        "right_knee": 0.3 * guard, "bend": 0.12 * guard,
    }  # fmt: skip


def _wave_arm(side: str, m: Moment) -> Track:
    up = hold(m.u, 0.05, 0.22, 0.82, 1.0)
    swing = np.sin(TAU * m.c) * up
    return {
        f"{side}_arm_out": 1.45 * up + 0.12, f"{side}_arm_twist": 1.45 * up,
        f"{side}_elbow": (1.55 + 0.45 * m.size * swing) * up,
    }  # fmt: skip


def wave_left(m: Moment) -> Track:
    return _wave_arm("left", m) | {"head_yaw": 0.1 * hold(m.u, 0, 0.2, 0.8, 1)}


def wave_both(m: Moment) -> Track:
    return _wave_arm("left", m) | _wave_arm("right", m)


def raise_left(m: Moment) -> Track:
    up = hold(m.u, 0.1, 0.4, 0.65, 0.95)
    return {
        "left_arm_flex": 2.85 * min(m.size, 1.05) * up,
        "left_elbow": 0.25 * np.sin(np.pi * up),
        "head_yaw": 0.1 * up,
    }


def raise_both(m: Moment) -> Track:
    return (
        raise_left(m)
        | {k: v for k, v in mirrored(raise_left)(m).items() if k.startswith("right")}
        | {"head_yaw": 0 * m.u}
    )


def arms_out(m: Moment) -> Track:
    up = hold(m.u, 0.1, 0.4, 0.65, 0.95)
    return {"left_arm_out": 1.5 * up, "right_arm_out": 1.5 * up}


def clap(m: Moment) -> Track:
    up = hold(m.u, 0.02, 0.15, 0.88, 1.0)
    apart = (1 + np.cos(TAU * m.c)) / 2 * m.size
    track = {}
    for side in ("left", "right"):
        track[f"{side}_arm_flex"] = 0.75 * up
        track[f"{side}_elbow"] = 1.15 * up
        track[f"{side}_arm_twist"] = (-0.62 + 0.6 * apart) * up
    return track


def bow(m: Moment) -> Track:
    down = hold(m.u, 0.1, 0.42, 0.58, 0.92) * m.size
    return {
        "bend": 0.9 * down,
        "lean": 0.45 * down,
        "left_hip_flex": 0.45 * down,
        "right_hip_flex": 0.45 * down,
        "nod": 0.3 * down,
    }


def throw_left(m: Moment) -> Track:
    back, out = hold(m.u, 0.1, 0.38, 0.42, 0.55), hold(m.u, 0.42, 0.56, 0.62, 0.95)
    return {
        "left_arm_out": 1.3 * back + 0.3 * out, "left_arm_twist": 1.4 * back, "left_elbow": 1.7 * back + 0.2 * out,
        "left_arm_flex": 1.5 * m.size * out, "twist": 0.6 * back - 0.7 * out * m.size, "bend": 0.35 * out - 0.1 * back,
        "right_hip_flex": 0.4 * out + 0.2 * back, "right_knee": 0.35 * out + 0.3 * back, "left_hip_flex": -0.25 * out,
        "left_knee": 0.25 * (back + out), "right_arm_flex": 0.9 * back - 0.3 * out,
    }  # fmt: skip


def stretch(m: Moment) -> Track:
    up, lean = hold(m.u, 0.05, 0.3, 0.75, 0.98), np.sin(TAU * np.clip((m.u - 0.3) / 0.45, 0, 1))
    return {
        "left_arm_out": 2.9 * up,
        "right_arm_out": 2.9 * up,
        "side": 0.4 * m.size * lean * up,
        "left_elbow": 0.2 * up,
        "right_elbow": 0.2 * up,
    }


def look_around(m: Moment) -> Track:
    look = np.sin(TAU * m.c) * hold(m.u, 0, 0.1, 0.9, 1)
    return {"head_yaw": 1.0 * m.size * look, "twist": 0.25 * look, "nod": 0.1 * np.sin(2 * TAU * m.c)}


def lunge_left(m: Moment) -> Track:
    """The left leg forward and down, and back."""
    out = hold(m.u, 0.1, 0.4, 0.6, 0.92)
    up = hold(m.u, 0.08, 0.2, 0.25, 0.4) + hold(m.u, 0.58, 0.7, 0.75, 0.92)
    return {
        "left_hip_flex": 1.15 * m.size * out + 0.4 * up, "left_knee": 1.25 * m.size * out + 0.7 * up, "left_ankle": -0.1 * out,
        "right_hip_flex": -0.45 * out, "right_knee": 0.75 * m.size * out, "right_ankle": 0.45 * out, "bend": 0.1 * out,
        "left_arm_out": 0.3 * out, "right_arm_out": 0.3 * out,
    }  # fmt: skip


def arm_circles(m: Moment) -> Track:
    turn = TAU * m.c
    return {
        "left_arm_flex": turn,
        "right_arm_flex": turn,
        "left_arm_out": np.full_like(turn, 0.25),
        "right_arm_out": np.full_like(turn, 0.25),
    }


def pick_up(m: Moment) -> Track:
    down = hold(m.u, 0.08, 0.42, 0.55, 0.92)
    return _crouch(0.75 * down, 0.8) | {
        "bend": 0.6 * down,
        "left_arm_flex": 0.7 * down,
        "left_elbow": 0.1 * down,
        "nod": 0.2 * down,
    }


def stand_still(m: Moment) -> Track:
    sway = 0.02 * np.sin(TAU * 0.25 * np.arange(len(m.u)) * m.dt)
    return {
        "side": sway,
        "bend": 0.03 + sway / 2,
        "left_elbow": np.full_like(m.u, 0.15),
        "right_elbow": np.full_like(m.u, 0.15),
    }
