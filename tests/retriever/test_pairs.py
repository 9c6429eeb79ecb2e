"""The field's protocols: their figures on matrices one can check by hand, their ceilings on real captions, their folders."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from encoders import Embeddings
from motion import FEATURES, Caption, Clip, joints_to_features
from motion.features_272 import encode_272
from motion.skeleton import SMPL_22
from retriever import EvaluationError, PairRow, evaluate_retrieval
from retriever.pair_protocols import pair_rows
from retriever.pairs import PairedSplit, plain
from retriever.protocols import batch_ranks, dissimilar, duplicate_ceiling, first_ranks, small_batches, within
from tests.fakes import FakeEncoder, somebody


def rows_of(found: object) -> dict[tuple[str, str, str], PairRow]:
    return {(row.protocol, row.direction.split()[0], row.ties): row for row in found}  # type: ignore[attr-defined]


# ---- pure functions -----------------------------------------------------------------------------------------------------


def test_ties_by_each_rule() -> None:
    scores = np.array([[0.5, 0.5, 0.9, 0.1], [0.3, 0.3, 0.3, 0.1]])
    own = np.eye(4, dtype=bool)[:2]
    np.testing.assert_allclose(first_ranks(scores, own, "averaged"), [2.5, 2.0])  # places 2, 3 and 1, 2, 3
    np.testing.assert_allclose(first_ranks(scores, own, "optimistic"), [2, 1])
    np.testing.assert_allclose(first_ranks(scores, own, "expected"), [2.5, 2.0])
    # two identical columns have the mean 0.5 counted from 0 and are found at once; three have 1.0 and are not
    assert within(np.array([1.5]), 1) == 1
    assert within(np.array([2.0]), 1) == 0


def test_the_best_of_what_is_alike_counts() -> None:
    scores = np.array([[0.1, 0.9, 0.5]])
    assert first_ranks(scores, np.array([[True, False, False]]), "averaged") == 3
    assert first_ranks(scores, np.array([[True, False, True]]), "averaged") == 2


@pytest.mark.parametrize("ties", ["expected", "averaged", "optimistic"])
def test_a_score_that_is_no_number_is_refused_with_its_place(ties: str) -> None:
    scores = np.eye(3)
    scores[1, 2] = np.nan
    with pytest.raises(EvaluationError, match="query 1 and item 2 is nan"):
        first_ranks(scores, np.eye(3, dtype=bool), ties)  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="nan"):
        batch_ranks(np.full((32, 32), np.nan), small_batches(32, 0))


def test_a_perfect_ranker_that_cannot_tell_equal_captions_apart_scores_the_ceiling() -> None:
    captions = ["a", "a", "a", "b", "b", "c"]
    ceiling = duplicate_ceiling(captions)
    same = np.array(captions)[:, None] == np.array(captions)[None]
    rng, own = np.random.default_rng(0), np.eye(6, dtype=bool)
    drawn = [first_ranks(same + 1e-3 * rng.random((6, 6)), own) for _ in range(4000)]
    for k in (1, 2, 3):
        assert ceiling.text_to_motion[k] == pytest.approx(np.mean([(r <= k).mean() for r in drawn]), abs=0.01)
        assert ceiling.motion_to_text[k] == within(first_ranks(same.astype(float), own, "averaged"), k).mean()
    assert (ceiling.captions, ceiling.distinct, ceiling.shared) == (6, 3, 5 / 6)


def test_small_batches_hold_everybody_once_and_rank_inside_only() -> None:
    batches = small_batches(100, 0)
    assert batches.shape == (3, 32)
    assert len(set(batches.ravel().tolist())) == 96
    order = np.arange(100)
    np.random.seed(0)
    np.random.shuffle(order)
    assert batches.ravel().tolist() == order[:96].tolist()
    rng = np.random.default_rng(0)
    scores = rng.random((100, 100))
    ranks = batch_ranks(scores, batches)
    for row, batch in zip(ranks, batches, strict=True):
        np.testing.assert_allclose(row, first_ranks(scores[np.ix_(batch, batch)], np.eye(32, dtype=bool)))


def test_dissimilar_items_are_less_alike_than_any() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.normal(size=(8, 32)), 10, axis=0) + 0.01 * rng.normal(size=(80, 32))
    vectors = groups / np.linalg.norm(groups, axis=1, keepdims=True)
    chosen = dissimilar(vectors @ vectors.T, 8)
    assert len({row // 10 for row in chosen.tolist()}) == 8
    assert len(dissimilar(vectors @ vectors.T, 500)) == 80


def test_rounding_does_not_choose_among_equal_captions() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(56, 32))[rng.integers(56, size=140)]
    similarity = vectors @ vectors.T / 32
    for seed in range(5):
        noise = 1e-7 * np.random.default_rng(seed).normal(size=similarity.shape)
        np.testing.assert_array_equal(dissimilar(similarity + noise, 100), dissimilar(similarity, 100))


# ---- the ceilings of KIT-ML, from its real annotations ---------------------------------------------------------------


@pytest.fixture(scope="module")
def kit(shared_data: Path) -> dict[str, list[tuple[str, str]]]:
    """First captions by split, ids in order."""
    import pyarrow.parquet as pq

    first: dict[str, tuple[str, str]] = {}
    for row in pq.read_table(shared_data / "texts" / "captions.parquet").to_pylist():
        first.setdefault(row["clip_id"], (row["split"], row["caption"]))
    splits: dict[str, list[tuple[str, str]]] = {}
    for name, (split, caption) in sorted(first.items()):
        splits.setdefault(split, []).append((name, caption))
    return splits


def percent(shares: Mapping[int, float], *ks: int) -> list[float]:
    return [round(100 * shares[k], 1) for k in ks]


def test_kit_ceilings_are_the_known_ones(kit: dict[str, list[tuple[str, str]]], shared_data: Path) -> None:
    import pyarrow.parquet as pq

    test = duplicate_ceiling([caption for _, caption in kit["test"]])
    assert (test.captions, test.distinct, round(100 * test.shared, 1)) == (786, 467, 74.9)
    assert percent(test.text_to_motion, 1, 2, 3, 5, 10) == [59.4, 93.8, 96.4, 99.5, 100.0]
    assert percent(test.motion_to_text, 1, 2, 3) == [88.4, 96.3, 100.0]
    for split, mirrors, count, shares in (
        ("test", True, 459, [58.40, 91.86, 95.04, 98.35, 99.24]),
        ("test", False, 358, [91.09, 97.46, 98.73, 99.24, 100.0]),
        ("val", True, 182, [62.33, 95.89, 97.95, 99.66, 100.0]),
        ("train", True, 2369, [50.53, 80.44, 84.56, 90.15, 95.09]),
    ):
        captions = [plain(caption) for name, caption in kit[split] if mirrors or not name.startswith("M")]
        found = duplicate_ceiling(captions)
        assert found.distinct == count
        assert [round(100 * found.text_to_motion[k], 2) for k in (1, 2, 3, 5, 10)] == pytest.approx(shares, abs=0.011)
    listed = pq.read_table(shared_data / "texts" / "kit_splits.parquet").to_pylist()
    unlike = {row["clip_id"] for row in listed if row["nsim_test"]}
    subset = duplicate_ceiling([caption for name, caption in kit["test"] if name in unlike])
    assert (subset.captions, subset.distinct, *percent(subset.text_to_motion, 1)) == (98, 59, 60.2)
    assert percent(duplicate_ceiling([c for _, c in kit["val"]]).text_to_motion, 1) == [63.7]
    train = duplicate_ceiling([caption for _, caption in kit["train"]])
    assert (train.captions, *percent(train.text_to_motion, 1)) == (4688, 52.3)


class ByFrames(FakeEncoder):
    """Embeds clips by their frames alone."""

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        return super().encode_motion([replace(clip, captions=()) for clip in clips])


def test_equal_captions_tie_to_the_last_bit() -> None:
    """In a product of 301 rows two equal ones need not come out equal; a tie that is lost is a rank won by chance."""
    rng = np.random.default_rng(0)
    clips = [
        Clip(
            rng.normal(size=(8, 22, 3)).astype(np.float32),
            SMPL_22,
            20.0,
            (Caption(f"text {number % 7}"),),
            clip_id=str(number),
        )
        for number in range(301)
    ]
    rows = rows_of(pair_rows(PairedSplit(clips), ByFrames(dim=257), chosen=["diagonal", "identity"]))
    one, other = rows["diagonal", "motion", "optimistic"], rows["caption identity", "motion", "optimistic"]
    assert one.metrics == other.metrics  # the best of a tied group and the best of the same caption are the same place
    averaged = rows["diagonal", "motion", "averaged"].metrics
    assert averaged["R@10"].value == 0  # 43 equal captions: no mean place is below 22


# ---- folders as they are published ------------------------------------------------------------------------------------

CAPTIONS = (
    "a person walks", "a person walks", "someone waves", "a man jumps high", "a person kicks left", "a person turns",
)  # fmt: skip


def write_humanml3d(folder: Path, *, kind: str = "joints") -> Path:
    """Six test clips and their mirrors, two train clips; clip 5 also has a caption with times; nsim lists four."""
    names = {"joints": "new_joints", "263": "new_joint_vecs", "272": "motion_data", "251": "new_joint_vecs"}
    arrays = folder / names[kind]
    arrays.mkdir(parents=True)
    (folder / "texts").mkdir()
    ids = [f"{number:06d}" for number in range(6)]
    for number, name in enumerate([*ids, "000010", "000011"]):
        for mirror in ("", "M"):
            joints = somebody(3.0, seed=number + 100 * bool(mirror), fps=30.0 if kind == "272" else 20.0)
            if kind == "263":
                array = joints_to_features(joints, FEATURES["humanml3d-263"])
            elif kind == "272":
                array = encode_272(joints)
            else:
                array = joints
            np.save(arrays / f"{mirror}{name}.npy", array, allow_pickle=False)
            caption = CAPTIONS[number] if number < 6 else ("a person walks", "a person sings")[number - 6]
            lines = [f"{caption}#{caption}/NOUN#0.0#0.0", f"{caption} again#{caption}/NOUN#0.0#0.0"]
            if number == 5:
                lines.append("a person stops#stop/VERB#1.0#2.5")
            (folder / "texts" / f"{mirror}{name}.txt").write_text("\n".join(lines), encoding="utf-8")
    both = [f"{mirror}{name}" for name in ids for mirror in ("", "M")]
    where = folder / "split" if kind == "272" else folder
    where.mkdir(exist_ok=True)
    (where / "test.txt").write_text("\n".join(both), encoding="utf-8")
    (where / "train.txt").write_text("000010\n000011", encoding="utf-8")
    (where / "nsim_test.txt").write_text("\n".join(both[4:8]), encoding="utf-8")
    return folder


def test_the_published_folders_give_the_published_protocol(tmp_path: Path) -> None:
    found = evaluate_retrieval(write_humanml3d(tmp_path / "set"), encoder=FakeEncoder(dim=256))
    rows = rows_of(found.pairs)
    diagonal = rows["diagonal", "text", "averaged"]
    assert (diagonal.queries, diagonal.gallery, diagonal.mirrored) == (12, 12, 6)  # first captions; mirrors are in
    assert diagonal.ceiling["R@1"] == pytest.approx(5 / 12)  # five different captions
    assert rows["diagonal, no mirrors", "text", "averaged"].gallery == 6
    # the fake embeds a clip by its first caption: no ranker could know more, so ties alone cost it something
    assert diagonal.metrics["R@1"].value == pytest.approx(8 / 12)  # "walks" is shared by four: mean place 2.5
    assert rows["diagonal", "text", "optimistic"].metrics["R@1"].value == 1
    assert rows["threshold 0.95", "text", "averaged"].metrics["R@1"].value == pytest.approx(8 / 12)
    assert rows["dissimilar subset", "motion", "averaged"].gallery == 4
    identity = rows["caption identity", "text", "optimistic"]
    assert (identity.queries, identity.metrics["R@1"].value) == (14, pytest.approx(1))  # and two with times
    every = rows["all captions, no mirrors", "text", "averaged"]
    assert (every.queries, every.gallery) == (13, 6)
    unseen = rows["diagonal, unseen captions", "text", "averaged"]
    assert (unseen.queries, unseen.gallery) == (8, 12)
    assert any("class_text" in note for note in found.notes)
    assert not found.rows
    assert "NaN" not in json.dumps(found.to_json())


@pytest.mark.parametrize("kind", ["263", "272"])
def test_features_are_read_as_well_as_joints(tmp_path: Path, kind: str) -> None:
    folder = write_humanml3d(tmp_path / "set", kind=kind)
    found = evaluate_retrieval(folder, encoder=FakeEncoder(dim=64), chosen=("diagonal",))
    assert rows_of(found.pairs)["diagonal", "text", "averaged"].gallery == 12


def test_kit_arrays_keep_their_own_skeleton(tmp_path: Path) -> None:
    folder = write_humanml3d(tmp_path / "kit", kind="joints")
    for path in (folder / "new_joints").glob("*.npy"):
        np.save(path, np.load(path)[:, :21], allow_pickle=False)
    found = evaluate_retrieval(folder, encoder=FakeEncoder(dim=256), chosen=("diagonal",))
    assert rows_of(found.pairs)["diagonal", "text", "averaged"].gallery == 12


def clips_of(captions: list[str]) -> list[Clip]:
    return [
        Clip(somebody(1.0, seed=i), SMPL_22, 20.0, (Caption(c),), clip_id=f"{i:05d}") for i, c in enumerate(captions)
    ]


def test_large_galleries_and_batches_are_drawn_where_there_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retriever.pair_protocols.GALLERIES", (100, 1000))
    split = PairedSplit(clips_of([f"{i} things happen {i % 7}" for i in range(110)]))
    chosen = ("batches", "galleries")
    rows = {(r.protocol, r.direction): r for r in pair_rows(split, FakeEncoder(dim=64), chosen=chosen)}
    assert {name for name, _ in rows} == {
        "batches of 32, TMR's order",
        "batches of 32, 100 orders",
        "random gallery of 100",
    }
    assert all(row.metrics["R@1"].value == 1 for row in rows.values())
    assert rows["random gallery of 100", "text to motion"].gallery == 100


def test_what_cannot_be_asked_is_said(tmp_path: Path) -> None:
    folder = write_humanml3d(tmp_path / "set")
    with pytest.raises(EvaluationError, match="class_text"):
        evaluate_retrieval(folder, encoder=FakeEncoder(), chosen=("classes",))
    with pytest.raises(EvaluationError, match="no protocol nsim; there are classes, diagonal"):
        evaluate_retrieval(folder, encoder=FakeEncoder(), chosen=("nsim",))
    with pytest.raises(EvaluationError, match=r"'holdout'.*splits: test, train"):
        evaluate_retrieval(folder, encoder=FakeEncoder(), split="holdout")
    for text in (folder / "texts").glob("*.txt"):
        text.unlink()
    with pytest.raises(EvaluationError, match="0 of 12 clips have a caption"):
        evaluate_retrieval(folder, encoder=FakeEncoder())


def test_a_damaged_take_is_left_out_and_said(tmp_path: Path) -> None:
    folder = write_humanml3d(tmp_path / "set")
    (folder / "new_joints" / "000003.npy").write_bytes(b"no array")
    found = evaluate_retrieval(folder, encoder=FakeEncoder(), chosen=("diagonal",))
    assert found.pairs[0].gallery == 11
    assert "1 takes could not be read" in found.notes[0] and "000003" in found.notes[0]
