"""What the actions are called, how people say them, and at what pace they run.

- An entry names its function, seconds, cycles a second, and sentences without a subject; "left" entries bring their twins.
- A style scales tempo and size and adds an adverb.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motion.geometry import swap_sides
from motion.synth import actions as a


@dataclass(frozen=True)
class Entry:
    """One action of the repertoire; ``says[0]`` makes the class sentence."""

    class_id: str
    action: a.Action
    seconds: float
    rate: float  # cycles a second
    says: tuple[str, ...]
    once: bool = False  # not repeated when it lasts longer; its cycles are counted from the seconds


@dataclass(frozen=True)
class Style:
    """How an action is done: tempo and size factors and the words for it."""

    name: str
    tempo: float
    size: float
    adverbs: tuple[str, ...]


STYLES = (
    Style("", 1.0, 1.0, ("",)),
    Style("slow", 0.65, 0.9, ("slowly", "at a slow pace", "without any hurry")),
    Style("fast", 1.4, 1.05, ("quickly", "fast", "in a hurry")),
    Style("big", 0.95, 1.25, ("with big movements", "widely", "in an exaggerated way")),
    Style("small", 1.05, 0.7, ("with small movements", "timidly", "barely moving")),
)

WALK = a.gait(stride=0.38, lift=0.95, arms=0.42, elbow=0.25)
RUN = a.gait(stride=0.75, lift=1.7, arms=0.75, elbow=1.45, lean=0.16, bounce=0.07)
JOG = a.gait(stride=0.5, lift=1.3, arms=0.45, elbow=1.3, lean=0.08, bounce=0.05)
SNEAK = a.gait(stride=0.38, lift=1.25, arms=0.12, elbow=0.9, lean=0.4)
BACKWARD = a.gait(stride=0.33, lift=0.8, arms=0.25, elbow=0.25, reverse=True)
MARCH = a.gait(stride=0.55, lift=1.35, arms=0.8, elbow=0.1)

_ONE: tuple[Entry, ...] = (
    Entry("walk", WALK, 4.0, 0.95, ("walks", "is walking forward", "strolls ahead", "takes a few steps forward")),
    Entry("run", RUN, 3.0, 1.35, ("runs", "is running forward", "races ahead")),
    Entry("jog", JOG, 3.5, 1.25, ("jogs", "is jogging", "runs at an easy pace")),
    Entry("sneak", SNEAK, 4.0, 0.7, ("sneaks", "creeps forward bent over", "tiptoes along")),
    Entry("march", MARCH, 3.5, 0.95, ("marches", "marches like a soldier", "walks with stiff arms and high knees")),
    Entry("walk_backward", BACKWARD, 4.0, 0.85, ("walks backwards", "steps back", "moves in reverse")),
    Entry("march_in_place", a.march_in_place, 3.5, 1.0, ("marches on the spot", "steps in place lifting the knees")),
    Entry("squat", a.squat, 2.8, 0.36, ("squats", "bends the knees deeply and rises", "does a squat")),
    Entry("jump", a.jump, 1.6, 0.62, ("jumps", "jumps up and down", "leaps up on the spot")),
    Entry("jump_forward", a.jump_forward, 1.6, 0.62, ("jumps forward", "leaps ahead with both feet")),
    Entry("jumping_jack", a.jumping_jack, 3.0, 0.95, ("does jumping jacks", "jumps opening arms and legs")),
    Entry("sit_down", a.sit_down, 2.2, 0.5, ("sits down", "takes a seat", "lowers onto a chair"), once=True),
    Entry("stand_up", a.stand_up, 2.2, 0.5, ("stands up", "gets up from a chair", "rises from a seat"), once=True),
    Entry(
        "wave_both_hands",
        a.wave_both,
        3.0,
        1.7,
        ("waves with both hands", "waves both arms", "greets with two hands"),
        once=True,
    ),
    Entry(
        "raise_both_hands",
        a.raise_both,
        2.4,
        0.5,
        ("raises both hands", "puts both arms up", "lifts the arms overhead"),
        once=True,
    ),
    Entry("arms_out", a.arms_out, 2.4, 0.5, ("spreads the arms", "holds the arms out to the sides"), once=True),
    Entry("clap", a.clap, 2.6, 2.0, ("claps", "claps the hands", "applauds"), once=True),
    Entry("bow", a.bow, 2.4, 0.5, ("bows", "bends forward in a bow", "takes a bow"), once=True),
    Entry("stretch", a.stretch, 4.0, 0.5, ("stretches", "stretches the arms up and leans to the sides"), once=True),
    Entry("look_around", a.look_around, 3.2, 0.4, ("looks around", "turns the head to both sides"), once=True),
    Entry("rotate_arms_backward", a.arm_circles, 3.0, 0.7, ("rotates both arms", "makes big circles with the arms")),
    Entry("stand", a.stand_still, 3.0, 0.5, ("stands still", "is standing", "does not move")),
)
_LEFT: tuple[Entry, ...] = (
    Entry(
        "walk_turn_left",
        a.turning(WALK, np.pi / 2),
        4.0,
        0.95,
        ("walks and turns left", "makes a left turn while walking"),
    ),
    Entry(
        "run_turn_left",
        a.turning(RUN, np.pi / 2),
        3.0,
        1.35,
        ("runs and turns left", "runs round a corner to the left"),
    ),
    Entry(
        "walk_circle_left",
        a.turning(WALK, 1.8 * np.pi),
        6.0,
        0.95,
        ("walks in a circle to the left", "walks around counterclockwise"),
    ),
    Entry(
        "jog_circle_left",
        a.turning(JOG, 1.8 * np.pi),
        5.0,
        1.25,
        ("jogs in a circle to the left", "jogs around counterclockwise"),
    ),
    Entry("turn_left", a.turn_on_spot, 2.2, 1.0, ("turns left on the spot", "turns to the left")),
    Entry("sidestep_left", a.sidestep, 3.2, 0.75, ("steps sideways to the left", "sidesteps left")),
    Entry("hop_left_leg", a.hop_left, 3.0, 1.3, ("hops on the left leg", "jumps on one foot, the left one")),
    Entry(
        "kick_left",
        a.kick_left,
        1.7,
        0.6,
        ("kicks forward with the left foot", "kicks with the left leg", "gives a kick with the left foot"),
    ),
    Entry(
        "punch_left",
        a.punch_left,
        1.8,
        0.9,
        ("punches with the left hand", "throws a left punch", "hits with the left fist"),
    ),
    Entry(
        "wave_left_hand",
        a.wave_left,
        3.0,
        1.7,
        ("waves with the left hand", "waves the left arm", "greets with the left hand"),
        once=True,
    ),
    Entry(
        "raise_left_hand",
        a.raise_left,
        2.4,
        0.5,
        ("raises the left hand", "puts the left arm up", "lifts the left hand above the head"),
        once=True,
    ),
    Entry(
        "throw_left",
        a.throw_left,
        2.0,
        0.5,
        ("throws with the left hand", "throws a ball with the left arm"),
        once=True,
    ),
    Entry(
        "lunge_left_leg",
        a.lunge_left,
        2.6,
        0.5,
        ("lunges with the left leg in front", "does a lunge, left foot forward"),
        once=True,
    ),
    Entry(
        "pick_up_left",
        a.pick_up,
        2.4,
        0.5,
        ("picks something up with the left hand", "bends down and grabs a thing with the left hand"),
        once=True,
    ),
)


def _twin(entry: Entry) -> Entry:
    return Entry(
        swap_sides(entry.class_id),
        a.mirrored(entry.action),
        entry.seconds,
        entry.rate,
        tuple(map(swap_sides, entry.says)),
        entry.once,
    )


REPERTOIRE: tuple[Entry, ...] = (*_ONE, *(e for left in _LEFT for e in (left, _twin(left))))
SUBJECTS = ("a person", "someone", "a man", "a woman", "the person", "the figure")


def swap_order(text: str) -> str:
    """A caption of two events with the events exchanged, said by the same joiner; any other text as it is."""
    subject = next((name for name in SUBJECTS if text.startswith(f"{name} ")), "")
    for joiner in (" and then ", ", then "):
        first, found, second = text.removeprefix(subject).strip().partition(joiner)
        if subject and found and joiner not in second:
            return f"{subject} {second}{joiner}{first}"
    return text
