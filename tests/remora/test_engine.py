"""The engine: one library, one encoder, answers that do not change under a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import encoders
from db import FilterError, RequestError
from indexer import EncoderMismatch
from motion import SMPL_22, Caption, Clip
from remora.asking import LONGEST_TEXT, clean_text
from remora.engine import Engine
from remora.errors import RemoraError
from retriever import RetrievalError
from tests.fakes import FakeEncoder, somebody

CLIP_ID = "takes/kick ball.npy#0.00-2.50"


@pytest.fixture
def engine(library: Path) -> Engine:
    return Engine(library, encoder=FakeEncoder())


def test_a_clip_that_was_indexed_comes_back_whole(engine: Engine) -> None:
    clip = engine.clip(CLIP_ID)
    np.testing.assert_allclose(clip.joints, somebody(2.5, seed=2), atol=1e-5)
    assert (clip.clip_id, clip.fps, clip.skeleton) == (CLIP_ID, 20.0, SMPL_22)
    assert clip.captions == (Caption("kick ball", kind="template"),)


def test_text_motion_and_clip_ask_the_same_way(engine: Engine) -> None:
    clip = engine.clip(CLIP_ID)
    answers = [engine.search("kick ball"), engine.search(motion=clip), engine.search(clip_id=CLIP_ID)]
    ids = [[hit.clip_id for hit in hits] for hits in answers]
    assert ids[0] == ids[1] == ids[2] and ids[0][0] == CLIP_ID
    scores = [[hit.score for hit in hits] for hits in answers]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-6)
    np.testing.assert_allclose(scores[0], scores[2], atol=1e-6)


def test_part_scores_are_what_a_search_by_that_part_gives(engine: Engine) -> None:
    whole = {hit.clip_id: hit.parts for hit in engine.search("jump high")}
    for part in engine.encoder.spec.parts:
        by_part = {hit.clip_id: hit.score for hit in engine.search("jump high", parts=[part])}
        assert by_part == pytest.approx({clip_id: parts[part] for clip_id, parts in whole.items()}, abs=1e-5)


def test_a_clip_of_the_library_needs_no_encoder(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "load_encoder", lambda *args, **kwargs: pytest.fail("an encoder was loaded"))
    engine = Engine(library)
    assert engine.search(clip_id=CLIP_ID, parts=["left_arm"])[0].clip_id == CLIP_ID
    assert engine.describe(clip_id=CLIP_ID)[0].text == "kick ball"


@pytest.mark.parametrize(
    ("question", "error"),
    [
        ({"text": "walk", "where": "duration_s <"}, FilterError),
        ({"text": "walk", "parts": ["tail"]}, RetrievalError),
        ({"clip_id": "nosuch"}, RequestError),
        ({"text": "  "}, RemoraError),
        ({"text": "walk", "clip_id": CLIP_ID, "words": 1.2}, RetrievalError),
        ({}, RemoraError),
    ],
)
def test_what_is_wrong_is_said_before_an_encoder_is_loaded(
    library: Path, monkeypatch: pytest.MonkeyPatch, question: dict[str, Any], error: type[Exception]
) -> None:
    monkeypatch.setattr(encoders, "load_encoder", lambda *args, **kwargs: pytest.fail("an encoder was loaded"))
    with pytest.raises(error):
        Engine(library).search(**question)


def test_answers_come_from_one_version_until_refreshed(library: Path, takes: Path, engine: Engine) -> None:
    before = [hit.clip_id for hit in engine.search("new dance", k=50)]
    np.save(takes / "new dance.npy", somebody(2.0, seed=33))
    Engine(library, encoder=FakeEncoder()).index(takes)
    assert [hit.clip_id for hit in engine.search("new dance", k=50)] == before
    engine.refresh()
    assert engine.search("new dance")[0].clip_id == "takes/new dance.npy#0.00-2.00"


def test_indexing_refreshes_the_engine_that_did_it(takes: Path, engine: Engine) -> None:
    engine.search("walk")
    np.save(takes / "new dance.npy", somebody(2.0, seed=33))
    assert engine.index(takes).added == 1
    assert engine.search("new dance")[0].clip_id == "takes/new dance.npy#0.00-2.00"


def test_a_library_finds_its_own_encoder_among_the_shipped(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load(name: object = None, **kwargs: object) -> FakeEncoder:
        asked.append(name)
        return FakeEncoder()

    monkeypatch.setattr(encoders, "load_encoder", load)
    monkeypatch.setattr(encoders, "available_encoders", lambda: ("fake", "part-momentum-small"))
    Engine(library).search("walk")
    monkeypatch.setattr(encoders, "available_encoders", lambda: ("part-momentum-small",))
    Engine(library).search("walk")
    Engine(library, encoder="mine").search("walk")
    assert asked == ["fake", None, "mine"]


def test_another_encoder_is_refused(library: Path) -> None:
    with pytest.raises(EncoderMismatch, match="--encoder"):
        Engine(library, encoder=FakeEncoder(fingerprint="ab" * 16)).search("walk")


def test_classification_needs_no_library(tmp_path: Path) -> None:
    clip = Clip(somebody(), SMPL_22, 20.0, (Caption("a person waves"),))
    (found,) = Engine(tmp_path / "none", encoder=FakeEncoder()).classify([clip], ["kicks", "waves"])
    assert found.best == "waves"


def test_texts_are_taken_whole_or_refused_by_their_length_without_blanks() -> None:
    assert clean_text("  a   person\nwaves ") == "a person waves"
    exactly = "x" * (LONGEST_TEXT - 2) + " y"
    assert clean_text(exactly.replace(" ", " " * 50)) == exactly
    with pytest.raises(RemoraError, match=str(LONGEST_TEXT)):
        clean_text(exactly + "y")
