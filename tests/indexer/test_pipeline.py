"""Indexing: only what changed is touched, an interruption loses nothing that was committed, runs in pieces agree."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from db import Library
from indexer import EncoderMismatch, IndexReport, NothingIndexed, SpanRule, index, pipeline
from motion import MotionError
from tests.fakes import FakeEncoder, somebody, write_takes

TAKES = {f"walk {number}.npy": 1.0 + 0.25 * number for number in range(12)}
Index = Callable[..., IndexReport]


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    return write_takes(tmp_path / "takes", TAKES)


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def run(takes: Path, tmp_path: Path, encoder: FakeEncoder) -> Index:
    def go(*sources: Path, **options: object) -> IndexReport:
        return index(sources or (takes,), tmp_path / "library", encoder=encoder, **options)

    return go


def content(library: Path) -> dict[str, tuple[object, ...]]:
    """Everything a library says about every clip, by id, but for the time it was written."""
    snapshot = Library.open(library).snapshot()
    ids = sorted(row["clip_id"] for batch in snapshot.scan(columns=["clip_id"]) for row in batch.to_pylist())
    spaces = sorted(name for name, space in snapshot.spaces.items() if space.rows_of == "rows")
    vectors = [snapshot.vectors(ids, name).tobytes() for name in spaces]
    rows = {row["clip_id"]: row for row in snapshot.rows(ids).to_pylist()}
    frames = {clip_id: snapshot.frames(clip_id) for clip_id in ids}
    captions = snapshot.captions(ids).to_pylist()
    return {"ids": tuple(ids), "vectors": tuple(vectors), "captions": tuple(map(repr, captions))} | {
        clip_id: (repr(rows[clip_id]), frames[clip_id]) for clip_id in ids
    }


def test_a_second_run_reads_and_writes_nothing(
    run: Index, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run()
    assert (first.added, first.unchanged) == (len(TAKES), 0)
    monkeypatch.setattr(pipeline, "cut", lambda *args: pytest.fail("a take was read"))
    second = run()
    assert (second.added, second.replaced, second.unchanged) == (0, 0, len(TAKES))
    assert second.version == first.version and encoder.encoded == len(TAKES)


def test_only_what_changed_is_embedded(run: Index, takes: Path, encoder: FakeEncoder) -> None:
    run()
    np.save(takes / "walk 3.npy", somebody(2.0, seed=77))
    np.save(takes / "run 1.npy", somebody(2.0, seed=78))
    report = run()
    assert report.added + report.replaced == 2 and report.unchanged == len(TAKES) - 1
    assert encoder.encoded == len(TAKES) + 2


def test_a_touched_file_of_the_same_content_is_not_embedded_again(
    run: Index, takes: Path, encoder: FakeEncoder
) -> None:
    run()
    os.utime(takes / "walk 3.npy", ns=(1, 1))
    report = run()
    assert (report.added, report.replaced, report.removed, report.unchanged) == (0, 0, 0, len(TAKES))
    assert encoder.encoded == len(TAKES)
    again = run()
    assert again.version == report.version  # the new stamp was kept: the file is not even read


def test_a_take_that_shrank_leaves_no_old_spans(run: Index, takes: Path, tmp_path: Path) -> None:
    np.save(takes / "walk 3.npy", somebody(30.0, seed=3))
    run()
    np.save(takes / "walk 3.npy", somebody(3.0, seed=3))
    report = run()
    assert report.removed >= 5
    ids = content(tmp_path / "library")["ids"]
    assert [clip_id for clip_id in ids if "walk 3" in str(clip_id)] == ["takes/walk 3.npy#0.00-3.00"]


def test_another_rule_cuts_again(run: Index, takes: Path, tmp_path: Path) -> None:
    np.save(takes / "walk 3.npy", somebody(9.0, seed=3))
    run()
    run(rule=SpanRule(span_s=3.0, stride_s=3.0, longest_s=4.0))
    ids = [str(clip_id) for clip_id in content(tmp_path / "library")["ids"] if "walk 3" in str(clip_id)]
    assert ids == [f"takes/walk 3.npy#{start:.2f}-{start + 3:.2f}" for start in (0, 3, 6)]


@pytest.mark.parametrize("stop_at", [1, 5, 9])
def test_an_interrupted_run_goes_on_where_it_was(
    run: Index, tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    monkeypatch.setattr(pipeline, "COMMIT_CLIPS", 3)
    reference = content_of_one_go(tmp_path)

    def interrupt(stage: str, done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=interrupt)
    kept = stop_at // 3 * 3
    assert Library.exists(tmp_path / "library") == bool(kept)
    encoder.encoded = 0
    report = run()
    assert (report.added, report.unchanged, encoder.encoded) == (len(TAKES) - kept, kept, len(TAKES) - kept)
    assert content(tmp_path / "library") == reference


def content_of_one_go(tmp_path: Path) -> dict[str, tuple[object, ...]]:
    index([tmp_path / "takes"], tmp_path / "reference", encoder=FakeEncoder())
    return content(tmp_path / "reference")


@pytest.mark.parametrize("batch", [1, 5, 256])
def test_what_is_stored_does_not_depend_on_batches(
    run: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(pipeline, "COMMIT_CLIPS", batch)
    run(batch_clips=batch)
    assert content(tmp_path / "library") == content_of_one_go(tmp_path)


def test_waiting_clips_are_bounded_by_bytes(run: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "COMMIT_BYTES", somebody(2.0).nbytes)
    run()
    assert len(Library.open(tmp_path / "library").versions()) > 5


def test_missing_takes_are_named_and_pruned_only_when_asked(run: Index, takes: Path, tmp_path: Path) -> None:
    run()
    (takes / "walk 4.npy").unlink()
    assert run().missing == ("takes/walk 4.npy",)
    assert len(content(tmp_path / "library")["ids"]) == len(TAKES)
    report = run(prune=True)
    assert report.removed == 1 and len(content(tmp_path / "library")["ids"]) == len(TAKES) - 1
    assert run(prune=True).missing == ()


def test_indexing_one_file_misses_none_of_its_neighbours(run: Index, takes: Path) -> None:
    run()
    report = run(takes / "walk 1.npy", prune=True)
    assert (report.unchanged, report.removed, report.missing) == (1, 0, ())


def test_sources_side_by_side_keep_to_themselves(run: Index, takes: Path, tmp_path: Path) -> None:
    other = write_takes(tmp_path / "other", {"jump.npy": 2.0}, seed=50)
    assert run(takes, other, takes).added == len(TAKES) + 1  # given twice, read once
    (other / "jump.npy").rename(other / "hop.npy")
    report = run(other, prune=True)
    assert (report.added, report.removed, report.missing) == (1, 1, ("other/jump.npy",))


def test_rejected_takes_are_named_with_the_reason_and_the_rest_is_indexed(run: Index, takes: Path) -> None:
    (takes / "broken.bvh").write_text("HIERARCHY")
    np.save(takes / "blink.npy", somebody(0.2))
    report = run()
    assert report.added == len(TAKES)
    assert {rejected.path for rejected in report.rejected} == {"takes/broken.bvh", "takes/blink.npy"}
    assert all(";" in rejected.reason for rejected in report.rejected)  # what; what to do


def test_when_nothing_can_be_read_nothing_is_created(run: Index, takes: Path, tmp_path: Path) -> None:
    shutil.rmtree(takes)
    takes.mkdir()
    (takes / "broken.bvh").write_text("HIERARCHY")
    with pytest.raises(NothingIndexed, match=r"broken\.bvh"):
        run()
    assert not (tmp_path / "library").exists()


def test_another_encoder_is_refused_before_anything_is_read(run: Index, takes: Path, tmp_path: Path) -> None:
    run()
    other = FakeEncoder(name="other", fingerprint="ee" * 16)
    with pytest.raises(EncoderMismatch, match="--encoder"):
        index([takes], tmp_path / "library", encoder=other)
    assert other.encoded == 0


def test_captions_are_stored_with_their_vectors(run: Index, takes: Path, tmp_path: Path, encoder: FakeEncoder) -> None:
    (tmp_path / "captions.csv").write_text("clip,caption\nwalk 1.npy,a person strolls\nwalk 1.npy,somebody ambles\n")
    run(captions=tmp_path / "captions.csv")
    snapshot = Library.open(tmp_path / "library").snapshot()
    texts = [row["text"] for row in snapshot.captions(["takes/walk 1.npy#0.00-1.25"]).to_pylist()]
    assert texts[:2] == ["a person strolls", "somebody ambles"]
    query = encoder.encode_text(["somebody ambles"]).whole
    assert snapshot.search("text/whole", query, 1).ids[0][0].startswith("takes/walk 1.npy#0.00-1.25#")


def test_changed_captions_are_seen(run: Index, takes: Path, tmp_path: Path) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("clip,caption\nwalk 1.npy,a person strolls\n")
    run(captions=captions)
    captions.write_text("clip,caption\nwalk 1.npy,a person ambles\n")
    report = run(captions=captions)
    assert (report.replaced, report.unchanged) == (1, len(TAKES) - 1)


def test_captions_that_are_not_named_again_stay_until_their_take_changes(
    run: Index, takes: Path, tmp_path: Path, encoder: FakeEncoder
) -> None:
    captions = tmp_path / "captions.csv"
    captions.write_text("clip,caption\nwalk 1.npy,a person strolls\nwalk 2.npy,a person ambles\n")
    before = run(captions=captions)

    def said(number: int) -> list[str]:
        snapshot = Library.open(tmp_path / "library").snapshot()
        ids = [name for name in snapshot.ids() if name.startswith(f"takes/walk {number}.npy#")]
        return [row["text"] for row in snapshot.captions(ids).to_pylist()]

    report = run()
    assert (report.version, report.unchanged, report.uncaptioned) == (before.version, len(TAKES), ())
    captions.write_text("clip,caption\nwalk 3.npy,a person marches\n")
    assert run(captions=captions).replaced == 1  # another file, about another take
    assert [said(number)[0] for number in (1, 2, 3)] == ["a person strolls", "a person ambles", "a person marches"]
    np.save(takes / "walk 2.npy", somebody(2.0, seed=99))
    assert run().uncaptioned == ("takes/walk 2.npy",)
    assert said(1)[0] == "a person strolls" and said(2) == ["walk"]


def test_an_encoder_is_loaded_only_when_there_is_something_to_embed(run: Index, takes: Path, tmp_path: Path) -> None:
    run()
    library, unused = tmp_path / "library", lambda: pytest.fail("loaded")
    assert index([takes], library, encoder=unused).unchanged == len(TAKES)
    (takes / "walk 4.npy").unlink()
    (takes / "broken.bvh").write_text("HIERARCHY")
    report = index([takes], library, encoder=unused, prune=True)
    assert (report.removed, len(report.rejected)) == (1, 1)
    assert Library.open(library).versions()[-1].note == "prune: 1 clips"


def test_another_encoder_is_refused_when_it_is_loaded(run: Index, takes: Path, tmp_path: Path) -> None:
    version = run().version
    np.save(takes / "run 1.npy", somebody(2.0, seed=78))
    with pytest.raises(EncoderMismatch, match="--encoder"):
        index([takes], tmp_path / "library", encoder=lambda: FakeEncoder(name="other", fingerprint="ee" * 16))
    assert Library.open(tmp_path / "library").latest == version


def test_seconds_are_told_by_stage(run: Index) -> None:
    assert set(run().seconds) == {"list", "load", "read", "embed", "commit"}


def test_no_encoder_is_loaded_for_sources_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MotionError, match="empty"):
        index([tmp_path / "empty"], tmp_path / "library", encoder=lambda: pytest.fail("loaded"))
