"""Rules for events hold for procedural motion of that meaning, and not for its opposite."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from generator.events import EVENTS, accuracy, holds
from motion import Clip, mirror_clip
from motion.synth import synthesise

SAME = {
    "a person walks forward": "walk", "a person runs": "run", "a person squats": "squat", "a person sits down": "sit_down",
    "a person jumps": "jump", "a person waves with both hands": "wave_both_hands",
    "a person raises both hands": "raise_both_hands",
    "a person walks backwards": "walk_backward", "a person waves with the left hand": "wave_left_hand",
    "a person raises the right hand": "raise_right_hand", "a person kicks with the left foot": "kick_left",
    "a person kicks with the right foot": "kick_right", "a person walks and turns left": "walk_turn_left",
    "a person walks and turns right": "walk_turn_right",
}  # fmt: skip


@pytest.fixture(scope="module")
def acted() -> dict[str, list[Clip]]:
    found: dict[str, list[Clip]] = defaultdict(list)
    for clip in synthesise(400, seed=11):
        found[clip.labels["class_id"]].append(clip)
    return found


def test_rules_hold_for_what_they_name_and_seldom_for_anything_else(acted: dict[str, list[Clip]]) -> None:
    rules = {event.text: event for event in EVENTS}
    still = acted["stand"]
    for text, name in SAME.items():
        own = [holds(rules[text], clip) for clip in acted[name]]
        assert np.mean(own) >= 0.7, (text, np.mean(own))
        assert np.mean([holds(rules[text], clip) for clip in still]) < 0.3, text


def test_a_side_is_the_other_in_the_mirror(acted: dict[str, list[Clip]]) -> None:
    rules = {event.text: event for event in EVENTS if event.aspect == "side"}
    for text, name in SAME.items():
        if text in rules:
            clips = [clip for clip in acted[name] if holds(rules[text], clip)]
            assert clips and not any(holds(rules[text], mirror_clip(clip)) for clip in clips), text


def test_order_is_order(acted: dict[str, list[Clip]]) -> None:
    (event,) = [e for e in EVENTS if e.text == "a person walks forward, then squats"]
    walk, squat = acted["walk"][0], acted["squat"][0]

    def joined(first: Clip, second: Clip) -> Clip:
        move = (first.joints[-1, 0] - second.joints[0, 0]) * (1, 0, 1)
        return replace(first, joints=np.concatenate([first.joints, (second.joints + move).astype(np.float32)]))

    assert holds(event, joined(walk, squat)) and not holds(event, joined(squat, walk))


def test_shares_are_by_aspect(acted: dict[str, list[Clip]]) -> None:
    events = [e for e in EVENTS if e.text in ("a person walks forward", "a person kicks with the left foot")]
    found = accuracy(events, [acted["walk"][:2], acted["kick_right"][:2]])
    assert found["action"] == 1.0 and found["side"] == 0.0 and found["all"] == 0.5 and found["count"] is None
