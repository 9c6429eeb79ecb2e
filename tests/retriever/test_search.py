"""Questions to a library: what comes back, why, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db import Library
from indexer import index
from motion import PARTS, read
from retriever import Query, QueryError, classify, describe, search
from tests.fakes import FakeEncoder, write_takes

NAMES = {
    "someone waves.npy": 2.0,
    "a man walks slowly.npy": 2.5,
    "kicks left.npy": 2.0,
    "kicks right.npy": 2.2,
    "jumps high.npy": 1.5,
}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    write_takes(tmp_path / "takes", NAMES)
    index([tmp_path / "takes"], tmp_path / "lib", encoder=FakeEncoder())
    return Library.open(tmp_path / "lib")


def test_a_sentence_finds_the_clip_it_was_written_for(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    for clip_id, text in zip(snapshot.ids(), snapshot.captions(snapshot.ids())["text"].to_pylist(), strict=True):
        hits = search(snapshot, encoder, Query(text=text), k=3)
        assert hits[0].clip_id == clip_id
        assert hits[0].score == pytest.approx(1, abs=1e-5)
        assert [hit.rank for hit in hits] == [1, 2, 3]
        assert text in hits[0].captions
        assert set(hits[0].parts) == set(PARTS)


def test_part_scores_are_the_cosines_of_the_parts(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    hits = search(snapshot, encoder, Query(text="kicks left"), k=5)
    asked = encoder.encode_text(["kicks left"])
    for hit in hits:
        for position, part in enumerate(PARTS):
            own = snapshot.vectors([hit.clip_id], f"motion/{part}")[0]
            assert hit.parts[part] == pytest.approx(float(own @ asked.parts[0, position]), abs=1e-5)


def test_one_part_ranks_by_that_part_and_weights_by_their_mean(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    hits = search(snapshot, encoder, Query(text="kicks left", parts=("left_leg",)), k=5)
    assert [h.score for h in hits] == pytest.approx([h.parts["left_leg"] for h in hits], abs=1e-5)
    weighed = search(snapshot, encoder, Query(text="kicks left", weights={"left_leg": 3.0, "right_arm": 1.0}), k=5)
    for hit in weighed:
        assert hit.score == pytest.approx(0.75 * hit.parts["left_leg"] + 0.25 * hit.parts["right_arm"], abs=1e-5)


def test_a_clip_of_the_library_finds_itself_first(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    for clip_id in snapshot.ids():
        assert search(snapshot, encoder, Query(clip_id=clip_id), k=1)[0].clip_id == clip_id


def test_filters_come_before_the_search(library: Library) -> None:
    hits = search(library.snapshot(), FakeEncoder(), Query(text="someone waves"), k=5, where="duration_s < 2.1")
    assert len(hits) == 3
    assert all(hit.end_s - hit.start_s < 2.1 for hit in hits)


def test_the_answer_as_json_and_table(library: Library) -> None:
    hits = search(library.snapshot(), FakeEncoder(), Query(text="jumps high"), k=2)
    answer = hits.to_json()
    assert list(answer) == ["query", "library_version", "plan", "hits"]
    assert {"rank", "clip_id", "start_s", "end_s", "score", "captions", "source", "parts"} <= set(answer["hits"][0])
    table = hits.to_arrow()
    assert table["clip_id"].to_pylist() == [hit.clip_id for hit in hits]
    assert {f"part_{part}" for part in PARTS} <= set(table.column_names)


def test_captions_for_a_motion_are_different_and_best_first(library: Library, tmp_path: Path) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    clip_id = snapshot.ids()[0]
    found = describe(snapshot, encoder, Query(clip_id=clip_id), k=3)
    assert found[0].clip_id == clip_id
    assert len({hit.text for hit in found}) == 3
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    with pytest.raises(QueryError, match="not for a sentence"):
        describe(snapshot, encoder, Query(text="x"), k=1)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({}, "none"),
        ({"text": "   "}, "empty"),
    ],
)
def test_questions_that_are_none(question: dict[str, str], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        Query(**question)


def test_unknown_parts_and_weights_are_named(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    with pytest.raises(QueryError, match=r"tail.*left_arm"):
        search(snapshot, encoder, Query(text="a", parts=("tail",)))
    for weights in ({"left_arm": -1.0}, {"left_arm": 0.0}, {"left_arm": float("nan")}):
        with pytest.raises(QueryError, match="weights"):
            search(snapshot, encoder, Query(text="a", weights=weights))


def test_classification_compares_labels_and_sums_to_one(tmp_path: Path) -> None:
    folder = write_takes(tmp_path, {"a person waves.npy": 1.0})
    clips = read(next(folder.glob("*.npy")))
    result = classify(FakeEncoder(), clips, ["walk", "run", "wave"])[0]
    assert sum(result.probabilities) == pytest.approx(1)
    assert np.argsort(result.scores).tolist() == np.argsort(result.probabilities).tolist()
    assert result.to_json()["labels"][0]["label"] == result.best
    swapped = classify(FakeEncoder(), clips, ["wave", "walk", "run"])[0]
    assert dict(zip(swapped.labels, swapped.scores, strict=True)) == pytest.approx(
        dict(zip(result.labels, result.scores, strict=True))
    )
    for labels, template in ((["one"], None), (["a", "a"], None), (["a", ""], None), (["a", "b"], "no braces")):
        with pytest.raises(QueryError):
            classify(FakeEncoder(), clips, labels, template=template)
