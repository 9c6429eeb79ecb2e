"""Spans: they cover the take, end with it, and carry the captions of their own seconds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer import SpanRule, cut
from indexer.spans import span_starts
from motion import SMPL_22, Caption, Clip, MotionError, Source

FPS = 20.0


def take(seconds: float, captions: tuple[Caption, ...] = (), start_s: float = 0.0) -> Clip:
    frames = round(seconds * FPS)
    joints = np.zeros((frames, 22, 3), np.float32)
    joints[:, 0, 0] = np.arange(frames)  # the frame number, to see what was cut out
    return Clip(joints, SMPL_22, FPS, captions, Source(take="t", start_s=start_s))


rules = st.builds(
    lambda span, stride, more: SpanRule(span_s=span, stride_s=span * stride, longest_s=span + more),
    st.floats(1.0, 12.0), st.floats(0.2, 1.0), st.floats(0.0, 5.0),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(rules, st.floats(0.1, 400.0))
def test_windows_cover_the_take_and_end_with_it(rule: SpanRule, more: float) -> None:
    duration = rule.span_s + more
    starts = span_starts(duration, rule)
    assert starts == sorted(set(starts)) and starts[-1] == pytest.approx(duration - rule.span_s)
    assert starts[0] == 0 or starts == [duration - rule.span_s]
    assert starts[0] + rule.span_s <= duration + 1e-9
    assert all(after - before <= rule.span_s + 1e-9 for before, after in pairwise(starts))
    assert len(starts) <= more / rule.stride_s + 2


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 60.0))
def test_every_frame_lies_in_a_span_of_bounded_length(seconds: float) -> None:
    rule = SpanRule()
    whole = take(seconds)
    spans = cut(whole, rule)
    seen = {int(frame) for span in spans for frame in span.joints[:, 0, 0]}
    assert seen == set(range(len(whole)))
    assert all(span.duration_s <= rule.longest_s + 1 / FPS for span in spans)
    assert spans[-1].joints[-1, 0, 0] == len(whole) - 1


def test_a_take_that_is_not_long_stays_whole() -> None:
    assert len(cut(take(10.0))) == 1
    assert len(cut(take(10.1))) > 1


def test_spans_say_which_seconds_of_the_take_they_are() -> None:
    for span in cut(take(27.0, start_s=100.0)):
        assert span.source.start_s == pytest.approx(100.0 + span.joints[0, 0, 0] / FPS)
        assert span.source.end_s - span.source.start_s == pytest.approx(span.duration_s)


def test_captions_go_to_the_seconds_they_speak_of() -> None:
    captions = (Caption("all of it"), Caption("early", 0.0, 3.0), Caption("late", 20.0, 24.0))
    spans = cut(take(24.0, captions))
    said = [[caption.text for caption in span.captions] for span in spans]
    assert all("all of it" in texts for texts in said)
    assert "early" in said[0] and not any("early" in texts for texts in said[1:])
    assert "late" in said[-1] and "late" not in said[0]
    late = next(caption for caption in spans[-1].captions if caption.text == "late")
    begin = spans[-1].source.start_s
    assert (late.start_s + begin, late.end_s + begin) == (pytest.approx(20.0), pytest.approx(24.0))


def test_a_caption_that_merely_touches_a_span_is_not_its_own() -> None:
    spans = cut(take(24.0, (Caption("touches", 7.9, 16.0),)))
    assert not spans[0].captions


def test_too_short_a_take_is_refused_with_its_length() -> None:
    with pytest.raises(MotionError, match=r"0\.40 s.*0\.5 s"):
        cut(take(0.4))


@pytest.mark.parametrize("wrong", [{"span_s": 12.0}, {"stride_s": 9.0}, {"stride_s": 0.0}, {"shortest_s": 9.0}])
def test_a_rule_that_would_leave_holes_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="change the lengths"):
        SpanRule(**wrong)
