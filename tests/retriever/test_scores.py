"""Ways of scoring and of asking: each against its formula, in plain numpy, over a small library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from db import Library
from indexer import clip_of_row, index
from motion import PARTS, Clip, mirror_clip, read
from retriever import (
    Hybrid,
    MaxSim,
    Parts,
    Query,
    QueryError,
    Tokens,
    Whole,
    late_interaction,
    max_sim,
    rocchio,
    score_named,
    search,
    search_batch,
)
from retriever.query import composed
from tests.fakes import FakeEncoder, write_takes

NAMES = {
    "someone waves.npy": 2.0, "a man walks slowly.npy": 2.5, "kicks left.npy": 2.0, "kicks right.npy": 2.2,
    "jumps high.npy": 1.5, "a man jumps left.npy": 1.7, "turns around.npy": 2.1,
}  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("scores")
    write_takes(folder / "takes", NAMES)
    index([folder / "takes"], folder / "lib", encoder=FakeEncoder())
    return Library.open(folder / "lib")


def named(library: Library, word: str) -> str:
    (found,) = [name for name in library.snapshot().ids() if word in name]
    return found


class Telling(FakeEncoder):
    """A fake that also tells words, and for moments the words of a clip's caption."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self.encoder, self._snapshot = self, library.snapshot()

    def clip(self, clip_id: str) -> Clip:
        return clip_of_row(
            self._snapshot.rows([clip_id]).to_pylist()[0],
            self._snapshot.captions([clip_id]).to_pylist(),
            self._snapshot.frames(clip_id),
        )

    def encode_words(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        return [self.encode_text(text.split()).whole for text in texts]

    def encode_motion_tokens(self, clips: Sequence[Clip]) -> list[NDArray[np.float32]]:
        said = self.encode_words([clip.captions[0].text for clip in clips])
        return [np.repeat(words[:, None], len(PARTS), axis=1) for words in said]


def test_tokens_add_the_mean_over_words_of_their_best_moment(library: Library) -> None:
    reader, snapshot = Telling(library), library.snapshot()
    query = Query(text="waves kicks")
    plain = {hit.clip_id: hit.score for hit in search(snapshot, reader, query, k=20)}
    hits = search(snapshot, reader, query, k=20, score=Tokens(reader, weight=0.5))
    (words,) = reader.encode_words(["waves kicks"])
    for hit in hits:
        (moments,) = reader.encode_motion_tokens([reader.clip(hit.clip_id)])
        late = (words @ moments[:, 0].T).max(axis=1).mean()
        assert hit.score == pytest.approx(plain[hit.clip_id] + 0.5 * late, abs=1e-5)
        assert late == pytest.approx(late_interaction(words, moments), abs=1e-6)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    few = search(snapshot, reader, query, k=1, score=Tokens(reader, rerank=2, weight=0.5))
    assert few.plan["reranked"] == 2
    assert late_interaction(words[:0], words[None]) == 0.0


def test_a_clip_with_words_is_asked_by_their_weighted_sum(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    clip_id = named(library, "kicks left")
    own, said = snapshot.vectors([clip_id], "motion/whole")[0], encoder.encode_text(["waves"]).whole[0]
    vector = 0.3 * own + 0.7 * said
    hits = search(snapshot, encoder, Query(text="waves", clip_id=clip_id, words=0.7), k=20)
    expected = snapshot.vectors([h.clip_id for h in hits], "motion/whole") @ vector / np.linalg.norm(vector)
    np.testing.assert_allclose([h.score for h in hits], expected, atol=1e-5)
    assert hits.query == f"clip {clip_id}, but waves"
    clip = next(c for c in map(Telling(library).clip, snapshot.ids()) if c.captions[0].text == "kicks left")
    same = search(snapshot, encoder, Query(text="waves", clip=clip, words=0.7), k=20)
    assert [h.clip_id for h in same] == [h.clip_id for h in hits]
    ends = {0.0: Query(clip_id=clip_id), 1.0: Query(text="waves")}
    for words, alone in ends.items():
        both = search(snapshot, encoder, Query(text="waves", clip_id=clip_id, words=words), k=20)
        np.testing.assert_allclose([h.score for h in both], [h.score for h in search(snapshot, encoder, alone, k=20)])
    part = search(snapshot, encoder, Query(text="waves", clip_id=clip_id, parts=("left_arm",)), k=20)
    assert [h.score for h in part] == pytest.approx([h.parts["left_arm"] for h in part], abs=1e-5)
    mirrored = search(snapshot, encoder, Query(text="left", clip=clip, mirror="only"), k=20)
    turned = search(snapshot, encoder, Query(text="right", clip=mirror_clip(clip)), k=20)
    assert [h.clip_id for h in mirrored] == [h.clip_id for h in turned]


def test_a_part_that_the_motion_lacks_stays_absent() -> None:
    text = np.eye(4, dtype=np.float32)[0]
    assert not composed(np.zeros(4, np.float32), text, 0.6).any()
    assert not composed(-text, text, 0.5).any()


def test_maxsim_is_the_mean_over_asked_parts_of_their_best_match(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    asked = encoder.encode_text(["kicks and waves"]).parts[0]
    hits = search(snapshot, encoder, Query(text="kicks and waves"), k=4, score=MaxSim())
    expected = {}
    for name in snapshot.ids():
        parts = np.stack([snapshot.vectors([name], f"motion/{part}")[0] for part in PARTS])
        expected[name] = (asked @ parts.T).max(axis=1).mean()
    best = sorted(expected, key=lambda name: -expected[name])[:4]
    assert [hit.clip_id for hit in hits] == best
    assert [hit.score for hit in hits] == pytest.approx([expected[name] for name in best], abs=1e-5)
    assert hits.plan["reranked"] == len(snapshot)


def test_maxsim_looks_only_at_the_clips_whose_bodies_fit_best(library: Library) -> None:
    snapshot, encoder, query = library.snapshot(), FakeEncoder(), Query(text="kicks and waves")
    whole = [hit.clip_id for hit in search(snapshot, encoder, query, k=3)]
    assert {hit.clip_id for hit in search(snapshot, encoder, query, k=3, score=MaxSim(rerank=3))} == set(whole)


def test_parts_that_are_missing_count_on_neither_side() -> None:
    random = np.random.default_rng(0)
    asked, found = random.standard_normal((3, 8)), random.standard_normal((5, 4, 8))
    asked, found = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (asked, found))
    less_asked, less_found = asked.copy(), found.copy()
    less_asked[1], less_found[:, 2] = 0, 0
    kept = max_sim(asked[[0, 2]].astype(np.float32), found[:, [0, 1, 3]].astype(np.float32))
    np.testing.assert_allclose(max_sim(less_asked.astype(np.float32), less_found.astype(np.float32)), kept, atol=1e-6)


def test_hybrid_adds_reciprocal_ranks_of_words_and_vectors(library: Library) -> None:
    snapshot, encoder, text = library.snapshot(), FakeEncoder(), "a man jumps"
    hits = search(snapshot, encoder, Query(text=text), k=7, score=Hybrid(words=2.0))
    ranks = [
        snapshot.search("motion/whole", encoder.encode_text([text]).whole, 7).ids[0],
        snapshot.match_text(text, 7).ids[0],
    ]
    fused = {
        name: sum(w / (61 + ids.index(name)) for ids, w in zip(ranks, (1.0, 2.0), strict=True) if name in ids)
        for name in snapshot.ids()
    }
    assert [hit.clip_id for hit in hits] == sorted(fused, key=lambda name: (-fused[name], name))
    assert [hit.score for hit in hits] == pytest.approx(sorted(fused.values(), reverse=True))
    assert hits[0].clip_id == named(library, "a man jumps left")


def test_rocchio_moves_towards_and_away_and_ends_as_a_unit_vector() -> None:
    random = np.random.default_rng(1)
    query, like, unlike = (random.standard_normal(shape).astype(np.float32) for shape in ((8,), (3, 8), (2, 8)))
    expected = query + 0.75 * like.mean(0) - 0.25 * unlike.mean(0)
    np.testing.assert_allclose(rocchio(query, like, unlike), expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(rocchio(None, like, unlike[:0]), like.mean(0) / np.linalg.norm(like.mean(0)), atol=1e-6)
    with pytest.raises(QueryError, match="cancels"):
        rocchio(None, like[:1], 3 * like[:1])


def test_more_like_these_gives_others_and_unlike_pushes_down(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    left, right = named(library, "kicks left"), named(library, "kicks right")
    hits = search(snapshot, encoder, Query(like=(left,)), k=20)
    assert left not in [hit.clip_id for hit in hits]
    assert len(hits) == len(snapshot) - 1
    pushed = search(snapshot, encoder, Query(text="kicks", unlike=(right,)), k=20)
    assert right not in [hit.clip_id for hit in pushed]
    only = search(
        snapshot, encoder, Query(text="kicks", like=(left,), unlike=(right,)), k=20, where="clip_id like '%a man%'"
    )
    assert all("a man" in hit.clip_id for hit in only)


def test_the_mirror_image_of_a_sentence_and_of_a_motion_is_found(library: Library, tmp_path: Path) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    right = named(library, "kicks right")
    hit = search(snapshot, encoder, Query(text="kicks left", mirror="only"), k=1)[0]
    assert (hit.clip_id, hit.mirrored) == (right, True)
    both = search(snapshot, encoder, Query(text="kicks left", mirror="also"), k=2)
    assert {(h.clip_id, h.mirrored) for h in both} == {(right, True), (named(library, "kicks left"), False)}
    write_takes(tmp_path, {"somebody.npy": 2.0}, seed=2)  # the joints of "kicks left"
    turned = mirror_clip(read(tmp_path / "somebody.npy")[0])
    again = search(snapshot, encoder, Query(clip=turned, mirror="only"), k=1)
    plain = search(snapshot, encoder, Query(clip=mirror_clip(turned)), k=1)
    assert again[0].score == pytest.approx(plain[0].score, abs=1e-5)


def test_many_sentences_at_once_are_answered_as_one_by_one(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    texts = [name.removesuffix(".npy") for name in NAMES] * 3
    for hits, text in zip(search_batch(snapshot, encoder, texts, k=3), texts, strict=True):
        alone = search(snapshot, encoder, Query(text=text), k=3)
        assert [(h.clip_id, h.parts) for h in hits] == [(h.clip_id, h.parts) for h in alone]
    assert search_batch(snapshot, encoder, [], k=3) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "none"), ({"unlike": ("x",)}, "none"), ({"text": "a", "clip_id": "x", "words": -0.1}, "share of the words"),
        ({"text": "a", "like": ("x",), "unlike": ("x",)}, "both"), ({"text": "a", "mirror": "left"}, "only"),
        ({"clip_id": "x", "mirror": "also"}, "mirror image"), ({"text": "a", "clip_id": "x", "mirror": "also"}, "mirror image"),
    ],
)  # fmt: skip
def test_questions_that_cannot_be_asked(query: dict[str, object], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Query(**query)  # type: ignore[arg-type]


def test_ways_of_scoring_that_do_not_fit_are_refused(library: Library) -> None:
    snapshot, encoder = library.snapshot(), FakeEncoder()
    (left,) = [named(library, "kicks left")]
    for way, query in (
        (Hybrid(), Query(clip_id=left)), (Hybrid(words=-1), Query(text="a")), (MaxSim(rerank=0), Query(text="a")),
        (Parts({"tail": 1.0}), Query(text="a")), (Parts({"whole": -1.0}), Query(text="a")), (Parts({}), Query(text="a")),
    ):  # fmt: skip
        with pytest.raises(QueryError):
            search(snapshot, encoder, query, score=way)
    with pytest.raises(QueryError):
        MaxSim().check((), "a")
    reader = Telling(library)
    with pytest.raises(QueryError, match="whole, events, maxsim, tokens, hybrid"):
        score_named("best", {}, reader=reader)
    with pytest.raises(QueryError, match="no body parts"):
        score_named("hybrid", {"root": 1.0}, reader=reader)
    with pytest.raises(QueryError, match="re-ranks nothing"):
        score_named("whole", {}, rerank=5, reader=reader)
    assert score_named("whole", {}, reader=reader) == Whole()
    assert score_named("maxsim", {}, rerank=5, reader=reader) == MaxSim(5)
    for text, parts in ((None, PARTS), ("a", ())):
        with pytest.raises(QueryError):
            Tokens(reader).check(parts, text)
