"""From cosines to probabilities: a temperature, and a floor below which "none of these" is the better answer.

- Probabilities are a softmax of cosines over the labels given, divided by a temperature. "None of these" is one more label
  whose cosine is always ``floor``: so the chance that nothing fits is part of the same sum.
- Both numbers belong to an encoder. They are fitted on a validation split by likelihood, over label sets of several sizes,
  because a user gives 5 labels as well as 50: the temperature where the true label is among them, then the floor over sets
  with and without it. Those of shipped encoders are in
  ``retriever/data/calibrations.json`` by fingerprint. An encoder without an entry gets :data:`UNFITTED`, and answers say so.
- Expected calibration error: 15 bins of equal width (Guo et al. 2017, "On Calibration of Modern Neural Networks").
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retriever.errors import EvaluationError, QueryError

BINS = 15
SET_SIZES = (3, 5, 10, 20, 50)
DRAWS = 4  # label sets a clip and size

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Calibration:
    """``temperature`` of the softmax over cosines, ``floor``: the cosine of "none of these"."""

    temperature: float = 0.1
    floor: float = 0.3
    fitted_on: str = ""  # data, split, clips, encoder; empty: not fitted

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature > 0 and -1 <= self.floor <= 1):
            raise QueryError(f"{self}: a temperature above 0 and a floor between -1 and 1 are needed; fit it again")

    def probabilities(self, scores: Scores, *, none: bool = False) -> NDArray[np.float64]:
        """Shares [N, L] of cosines [N, L]; with ``none`` [N, L + 1], the last one that of "none of these"."""
        scores = np.asarray(scores, np.float64)
        if none:
            scores = np.concatenate([scores, np.full((len(scores), 1), self.floor)], axis=1)
        weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / self.temperature)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)


UNFITTED = Calibration()


def calibration_of(fingerprint: str, file: Path | None = None) -> Calibration:
    """The calibration of the encoder with ``fingerprint``: from ``file`` or the shipped ones; else :data:`UNFITTED`.

    Raises:
        QueryError: ``file`` cannot be read, or is of another encoder.
    """
    if file is None:
        text = resources.files("retriever").joinpath("data/calibrations.json").read_text(encoding="utf-8")
        entry = json.loads(text).get(fingerprint)
        return UNFITTED if entry is None else Calibration(**entry)
    try:
        entries: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        found = {name: Calibration(**dict(entry)) for name, entry in entries.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise QueryError(
            f"{file}: holds no calibration ({error}); write one by remora evaluate classification --save-calibration"
        ) from error
    if fingerprint not in found:
        raise QueryError(
            f"{file}: fitted for another encoder ({', '.join(found)[:32]}); fit it again for {fingerprint}"
        )
    return found[fingerprint]


def save_calibration(calibration: Calibration, fingerprint: str, file: Path) -> None:
    """Add to ``file``, or replace in it, the calibration of an encoder."""
    entries: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    entries[fingerprint] = asdict(calibration)
    file.write_text(json.dumps(entries, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def label_sets(
    scores: Scores, right: NDArray[np.int64], *, seed: int = 0
) -> Iterator[tuple[Scores, NDArray[np.int64]]]:
    """Cosines [M, s] of clips with s labels, and which is right [M], s where none is: for every size, half of them without.

    Args:
        scores: [N, L], L labels of which each clip has one.
        right: [N], its column.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    total = scores.shape[1]
    sizes = sorted({min(size, total - 1) for size in SET_SIZES})
    for size in sizes:
        for without in (False, True):
            rows, answers = [], []
            for row in np.repeat(np.arange(len(scores)), DRAWS):
                others = rng.permutation(np.delete(np.arange(total), right[row]))
                columns = others[:size] if without else np.append(others[: size - 1], right[row])
                rows.append(scores[row, columns])
                answers.append(size if without else size - 1)
            yield np.stack(rows), np.array(answers)


def fit(scores: Scores, right: NDArray[np.int64], *, fitted_on: str, seed: int = 0) -> Calibration:
    """The temperature and floor of greatest likelihood for cosines [N, L] and the right labels [N].

    Raises:
        EvaluationError: fewer than three labels, or scores that are not finite.
    """
    if scores.shape[1] < 3 or len(scores) == 0:
        raise EvaluationError(
            f"a calibration needs clips of three classes or more, not {list(scores.shape)}; add clips"
        )
    if not np.isfinite(scores).all():
        raise EvaluationError("a score is not finite; check the encoder and the clips")
    sets = list(label_sets(scores, right, seed=seed))

    def loss(candidate: Calibration, among: Sequence[tuple[Scores, NDArray[np.int64]]], *, none: bool) -> float:
        shares = [candidate.probabilities(s, none=none)[np.arange(len(a)), a] for s, a in among]
        return float(np.mean([-np.log(np.maximum(share, 1e-12)).mean() for share in shares]))

    from scipy.optimize import minimize_scalar  # half a second that a question need not wait for

    heat = minimize_scalar(
        lambda value: loss(Calibration(float(np.exp(value))), sets[::2], none=False), bounds=np.log([0.002, 2.0])
    )
    temperature = float(np.exp(heat.x))
    floor = minimize_scalar(
        lambda value: loss(Calibration(temperature, float(value)), sets, none=True), bounds=(-0.5, 1.0)
    )
    return Calibration(round(temperature, 4), round(float(floor.x), 4), fitted_on)


def expected_calibration_error(shares: Scores, right: NDArray[np.int64], bins: int = BINS) -> float:
    """Mean gap between the highest share [N, L] and how often it is right, over ``bins`` of equal width."""
    sure, hit = shares.max(axis=1), shares.argmax(axis=1) == right
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = [abs(hit[place == b].mean() - sure[place == b].mean()) * (place == b).mean() for b in np.unique(place)]
    return float(np.sum(gaps))
