"""The evaluation: its rows on data whose answer is known, and the paraphrases it asks with."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from encoders import Embeddings
from motion import Clip
from retriever import EvaluationError, evaluate_retrieval
from retriever.questions import paraphrases
from tests.fakes import FakeEncoder, write_labelled


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z ]", "", text.lower().replace("-", " ")).split())


class Knowing(FakeEncoder):
    """An encoder that reads the answer off the labels: every class row must be perfect."""

    def encode_motion(self, clips: list[Clip]) -> Embeddings:
        return self.encode_text([clip.labels["class_text"] for clip in clips])


def test_rows_of_an_encoder_that_knows_and_of_one_that_guesses(shared_data: Path) -> None:
    folder = shared_data / "actions" / "cmu-asf"
    found = evaluate_retrieval(
        folder, encoder=Knowing(dim=256), baseline=FakeEncoder(dim=256), chosen=("classes",), untrained=["wash_window"]
    )
    rows = {(row.name, row.metric): row for row in found}
    perfect = rows["class_id, all", "mAP"]
    assert perfect.value.value == pytest.approx(1)
    assert perfect.gallery == 59
    assert perfect.queries == found.classes
    assert rows["zero-shot, all", "top-1"].value.value == pytest.approx(1)
    assert perfect.baseline is not None
    assert perfect.difference is not None
    assert perfect.difference.value == pytest.approx(1 - perfect.baseline.value)
    assert all(row.value.low - 1e-9 <= row.value.value <= row.value.high + 1e-9 for row in found)
    assert {"human captions", "new wording"} <= {row.name for row in found}
    assert rows["classes never trained", "mAP"].queries == 1
    sides = [row for name, row in ((r.name, r) for r in found) if name.startswith(("left or right", "order of"))]
    assert {row.name.split(", ")[1] for row in sides} == {"paths", "synthetic"}
    # a sum of words says which side, and cannot say which came first
    assert all(row.value.value == (0.5 if row.name.startswith("order of") else 1) for row in sides)
    data = found.to_json()
    assert len(data["rows"]) == len(found.rows)
    assert "nan" not in str([row["value"] for row in data["rows"]])


def test_what_is_not_there_is_said_with_what_is(shared_data: Path) -> None:
    with pytest.raises(EvaluationError, match="train"):
        evaluate_retrieval(shared_data / "actions" / "cmu-asf", encoder=FakeEncoder(), split="holdout")


def test_a_split_of_one_class_or_of_few_clips_says_so(tmp_path: Path) -> None:
    write_labelled(tmp_path / "one" / "a", {"walk": 3})
    with pytest.raises(EvaluationError, match="all clips of split 'test' are of class 'walk'"):
        evaluate_retrieval(tmp_path / "one", encoder=FakeEncoder(), chosen=("classes",))
    write_labelled(tmp_path / "few" / "a", {"walk": 3, "kick": 2})
    found = evaluate_retrieval(tmp_path / "few", encoder=FakeEncoder(), chosen=("classes",))
    assert any("5 clips: R@k is 1 by construction" in note for note in found.notes)
    for protocol in ("batches", "galleries"):
        with pytest.raises(EvaluationError, match=f"too small for {protocol}"):
            evaluate_retrieval(tmp_path / "few", encoder=FakeEncoder(), chosen=(protocol,))


def test_paraphrases_cover_the_classes_and_are_in_no_training_text(shared_data: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from motion.synth import synthesise

    pairs = paraphrases()
    assert len({sentence for _, sentence in pairs}) == len(pairs)
    per_class = {name: sum(1 for c, _ in pairs if c == name) for name, _ in pairs}
    assert min(per_class.values()) >= 2
    known = {plain(clip.labels["class_text"]) for clip in synthesise(60, seed=0)}
    for file in (shared_data / "texts").glob("*.parquet"):
        table = pq.read_table(file)
        words = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
        known |= {plain(text or "") for name in words for text in table[name].to_pylist()}
    assert len(known) > 3_000
    classes = set()
    for file in (shared_data / "actions").glob("*/clips.parquet"):
        table = pq.read_table(file, columns=["class_id", "class_text", "captions"])
        classes |= set(table["class_id"].to_pylist())
        known |= {plain(t) for t in table["class_text"].to_pylist()}
        known |= {plain(c) for row in table["captions"].to_pylist() for c in row or ()}
    assert set(per_class) == classes
    assert not {plain(sentence) for _, sentence in pairs} & known
    for name, sentence in pairs:
        assert all(side in sentence for side in ("left", "right") if side in name.split("_"))
    assert np.mean([len(sentence.split()) for _, sentence in pairs]) > 4


def test_an_untrained_class_that_the_split_lacks_is_an_error(shared_data: Path) -> None:
    with pytest.raises(EvaluationError, match="is of the untrained class 'fly'; name class_ids it has"):
        evaluate_retrieval(shared_data / "actions" / "cmu-asf", encoder=FakeEncoder(), untrained=["fly"])
