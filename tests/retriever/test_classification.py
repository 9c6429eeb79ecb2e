"""Probabilities that can be believed, "none of these", and labels as people give them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from encoders import Embeddings, load_encoder
from motion import Clip
from motion.skeleton import SMPL_22
from retriever import (
    Calibration,
    EvaluationError,
    Label,
    QueryError,
    calibration_of,
    classify,
    draw_confusion,
    evaluate_classification,
    save_calibration,
)
from retriever.calibration import UNFITTED, expected_calibration_error, fit, label_sets
from retriever.classify import NONE, label_vectors
from tests.fakes import FakeEncoder, somebody, write_labelled


def drawn(count: int, labels: int, *, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cosines whose right labels are drawn from a softmax of this temperature: the truth that a fit must find."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-0.2, 0.9, (count, labels))
    shares = np.exp(scores / temperature)
    shares /= shares.sum(axis=1, keepdims=True)
    return scores, np.array([rng.choice(labels, p=row) for row in shares])


def test_a_fit_makes_probabilities_true() -> None:
    scores, right = drawn(800, 12, temperature=0.03)
    fitted = fit(scores, right, fitted_on="drawn")
    fresh, answers = drawn(4000, 12, temperature=0.03, seed=1)
    before = expected_calibration_error(UNFITTED.probabilities(fresh), answers)
    after = expected_calibration_error(fitted.probabilities(fresh), answers)
    assert after < 0.05 < before
    assert fit(scores, right, fitted_on="drawn") == fitted


def test_probabilities_sum_to_one_and_follow_the_scores() -> None:
    scores, _ = drawn(20, 7, temperature=0.1)
    for none in (False, True):
        shares = Calibration(0.05, 0.4).probabilities(scores, none=none)
        assert shares.shape == (20, 7 + none)
        np.testing.assert_allclose(shares.sum(axis=1), 1)
        assert np.array_equal(shares[:, :7].argsort(axis=1), scores.argsort(axis=1))
    certain = Calibration(0.05, 0.4).probabilities(np.array([[0.9, 0.1], [0.1, 0.0]]), none=True)
    assert certain.argmax(axis=1).tolist() == [0, 2]


def test_the_error_is_zero_for_the_truth_and_known_for_a_boast() -> None:
    sure = np.array([[1.0, 0.0]] * 10)
    assert expected_calibration_error(sure, np.zeros(10, int)) == 0
    assert expected_calibration_error(sure, np.array([0] * 6 + [1] * 4)) == pytest.approx(0.4)


def test_label_sets_hold_the_right_label_or_do_not() -> None:
    scores, right = np.arange(20.0).reshape(2, 10), np.array([3, 7])
    for with_it, without in zip(*[iter(label_sets(scores, right))] * 2, strict=True):
        assert (with_it[0][:, -1] == np.repeat([3, 17], 4)).all()
        assert not {3.0, 17.0} & set(without[0].ravel().tolist())
        assert (without[1] == without[0].shape[1]).all()


def test_a_calibration_is_kept_by_encoder(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    one, two = Calibration(0.03, 0.5, "val"), Calibration(0.2, 0.1, "other")
    save_calibration(one, "aa", file)
    save_calibration(two, "bb", file)
    assert (calibration_of("aa", file), calibration_of("bb", file)) == (one, two)
    assert calibration_of("no such encoder") == UNFITTED
    with pytest.raises(QueryError, match="another encoder"):
        calibration_of("cc", file)
    for text in ("no json", '{"aa": {"temperature": 0}}', '{"aa": {"heat": 1}}', "[1]"):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(QueryError):
            calibration_of("aa", file)


def test_synonyms_and_templates_are_averaged() -> None:
    encoder = FakeEncoder(dim=64)
    vectors = label_vectors(encoder, [Label("walk", ("stroll",)), Label("run")], ["{}", "a person {}"])
    said = encoder.encode_text(["walk", "a person walk", "stroll", "a person stroll"]).whole.sum(axis=0)
    np.testing.assert_allclose(vectors[0], said / np.linalg.norm(said), atol=1e-6)
    assert Label.parse("walk | stroll|| go on foot") == Label("walk", ("stroll", "go on foot"))


def motion(seed: int = 0) -> Clip:
    return Clip(somebody(1.0, seed=seed), SMPL_22, 20.0)


def test_none_of_these_is_the_answer_where_nothing_fits() -> None:
    encoder = FakeEncoder(dim=256)
    found = classify(encoder, [motion()], ["walk", "run"], none=True, calibration=Calibration(0.05, 0.5))[0]
    assert found.best == NONE and found.none is not None
    assert found.none + sum(found.probabilities) == pytest.approx(1)
    assert found.to_json()["best"] == NONE
    assert not classify(encoder, [motion()], ["walk", "run"])[0].calibrated


def test_ten_thousand_labels_are_only_many() -> None:
    names = [f"label {number}" for number in range(10_000)]
    found = classify(FakeEncoder(dim=16), [motion()], names)[0]
    assert len(found.to_json(top=3)["labels"]) == 3
    assert sum(found.probabilities) == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([], "two or more"),
        (["a"], "two or more"),
        (["a", ""], "label 2 of 2 is empty"),
        (["a", "b", "a"], "'a' is given twice"),
        (["walk", "run", "Walk"], "'Walk' is given twice, as label 1 and 3"),
        (["walk|run", "run"], "'run' is given twice, as label 1 and 2"),
    ],
)
def test_labels_that_cannot_be_compared(labels: list[str], says: str) -> None:
    with pytest.raises(QueryError, match=says):
        classify(FakeEncoder(), [motion()], labels)


class Knowing(FakeEncoder):
    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        return self.encode_text([clip.labels["class_id"].replace("_", " ") for clip in clips])


def test_the_report_of_an_encoder_that_knows(tmp_path: Path) -> None:
    classes = {name: 4 for name in ("walk", "run", "wave_left", "kick")}
    write_labelled(tmp_path / "set" / "a", classes, split="val")
    write_labelled(tmp_path / "set" / "b", classes)
    report = evaluate_classification(tmp_path / "set", encoder=Knowing(dim=256))
    assert report.labels == ("kick", "run", "walk", "wave left")
    assert report.accuracy["top-1"].value == report.accuracy["top-1 norm"].value == 1
    assert np.array_equal(report.confusion, 4 * np.eye(4))
    assert (report.chance, report.largest) == (0.25, 0.25)
    assert report.none_recall > 0.9 and report.none_false < 0.1
    json.dumps(report.to_json())
    draw_confusion(report, tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(EvaluationError, match="both fit and judge"):
        evaluate_classification(tmp_path / "set", encoder=Knowing(), split="val")


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    write_labelled(tmp_path / "set" / "a", {"walk": 3}, split="val")
    write_labelled(tmp_path / "set" / "b", {"walk": 3})
    with pytest.raises(EvaluationError, match="has 1 classes"):
        evaluate_classification(tmp_path / "set", encoder=Knowing())


def test_the_shipped_encoder_has_probabilities_fitted_to_it() -> None:
    assert calibration_of(load_encoder(device="cpu").spec.fingerprint).fitted_on
