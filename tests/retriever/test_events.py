"""Sentences of several events: stretches fill a clip, order counts, and the search by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from encoders import Embeddings
from encoders.text import events_of
from motion import Caption, Clip
from motion.synth import synthesise
from retriever.errors import QueryError
from retriever.events import SHIFTS, embed_stretches, event_scores, joined_both_ways, stretches
from retriever.scores import Events
from tests.fakes import FakeEncoder


@pytest.mark.parametrize("count", [2, 3, 5])
def test_stretches_fill_the_clip_in_order(count: int) -> None:
    spans = stretches(7.0, count)
    assert spans.shape == (len(SHIFTS), count, 2)
    np.testing.assert_allclose(spans[:, 0, 0], 0)
    np.testing.assert_allclose(spans[:, -1, 1], 7)
    np.testing.assert_allclose(spans[:, 1:, 0], spans[:, :-1, 1])
    assert (spans[..., 1] - spans[..., 0] > 0.5 * 7 / count).all()


def test_events_are_what_then_stands_between() -> None:
    assert events_of("a person walks, then sits and then waves") == ["a person walks", "sits", "waves"]
    assert events_of("a person walks") == ["a person walks"]
    assert events_of("then ") == ["then "]


class Hearing(FakeEncoder):
    """Embeds a clip by the captions that sound in its middle."""

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        middles = [clip.duration_s / 2 for clip in clips]
        said = [
            " ".join(c.text for c in clip.captions if c.start_s <= middle < c.end_s)
            for clip, middle in zip(clips, middles, strict=True)
        ]
        return self.encode_text(said)


def test_the_order_of_events_counts() -> None:
    encoder = Hearing(dim=64)
    clip = synthesise(1, seed=0)[0]
    half = clip.duration_s / 2
    told = (Caption("walks", 0, half), Caption("sits", half, clip.duration_s))
    back = (Caption("sits", 0, half), Caption("walks", half, clip.duration_s))
    found = embed_stretches(encoder, [replace(clip, captions=told), replace(clip, captions=back)], 2)
    assert found.shape == (2, len(SHIFTS), 2, 64)
    scores = event_scores(encoder.encode_text(["walks", "sits"]).whole, found)
    assert scores[0] == pytest.approx(1, abs=1e-5)
    assert scores[1] < 0.7
    assert embed_stretches(encoder, [], 2).shape == (0, len(SHIFTS), 2, 64)


def test_clips_are_joined_both_ways_round() -> None:
    made = joined_both_ways(synthesise(40, seed=3), count=5)
    assert len(made) == 10
    for one, other in zip(made[::2], made[1::2], strict=True):
        first, second = (events_of(clip.labels["class_text"]) for clip in (one, other))
        assert len(first) == len(second) == 2
        assert first[0].removeprefix("a person ") == second[1]
        assert one.duration_s == pytest.approx(other.duration_s, abs=0.1)
    assert joined_both_ways(synthesise(1, seed=3)) == []


@pytest.mark.parametrize("text", [None, "a person walks", ", then ".join(["walks"] * 9)])
def test_a_sentence_without_several_events_is_refused(text: str | None) -> None:
    with pytest.raises(QueryError, match=r'2 to 8 events, not .* put "then" between them'):
        Events(reader=None).check((), text)  # type: ignore[arg-type]
