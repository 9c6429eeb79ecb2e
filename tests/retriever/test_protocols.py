"""Figures of retrieval on matrices one can check by hand, and their laws."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retriever.protocols import (
    average_precision,
    bootstrap,
    chance_average_precision,
    chance_recall,
    first_ranks,
    recall_at,
)

SCORES = np.array([[0.9, 0.5, 0.7, 0.1], [0.2, 0.4, 0.3, 0.8]])
RIGHT = np.array([[False, True, True, False], [True, False, False, False]])


def test_by_hand() -> None:
    # query 0: order 0, 2, 1, 3 -> right at places 2 and 3; query 1: order 3, 1, 2, 0 -> right at place 4
    np.testing.assert_allclose(average_precision(SCORES, RIGHT), [(1 / 2 + 2 / 3) / 2, 1 / 4])
    np.testing.assert_allclose(first_ranks(SCORES, RIGHT), [2, 4])
    np.testing.assert_allclose(recall_at(first_ranks(SCORES, RIGHT), 2), [1, 0])


def test_a_query_with_nothing_right_has_no_precision_and_no_rank() -> None:
    nothing = np.zeros_like(RIGHT)
    assert np.isnan(average_precision(SCORES, nothing)).all()
    assert np.isinf(first_ranks(SCORES, nothing)).all()


def test_ties_are_ranked_by_expectation() -> None:
    scores = np.array([[0.5, 0.5, 0.5, 0.1]])
    for right in ([True, False, False, False], [True, True, False, False], [True, True, True, False]):
        relevant = np.array([right])
        orders = [1 + min(order.index(i) for i in range(3) if right[i]) for order in permutations(range(3))]
        assert first_ranks(scores, relevant)[0] == pytest.approx(np.mean(orders))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_figures_do_not_depend_on_scale_or_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, right = rng.normal(size=(4, 12)), rng.random((4, 12)) < 0.3
    right[:, 0] = True
    order = rng.permutation(12)
    for figure in (average_precision, first_ranks):
        plain = figure(scores, right)
        np.testing.assert_allclose(figure(np.exp(3 * scores), right), plain)
        np.testing.assert_allclose(figure(scores[:, order], right[:, order]), plain)
    perfect = np.where(right, 1.0, 0.0) + 0.01 * rng.random((4, 12))
    np.testing.assert_allclose(average_precision(perfect, right), 1)
    np.testing.assert_allclose(first_ranks(perfect, right), 1)


def test_chance_is_what_random_orders_give() -> None:
    rng = np.random.default_rng(0)
    right = np.array([[True] * 3 + [False] * 9, [True] + [False] * 11])
    runs = [average_precision(rng.random((2, 12)), right).mean() for _ in range(4000)]
    assert chance_average_precision(right) == pytest.approx(np.mean(runs), abs=0.01)
    hits = [recall_at(first_ranks(rng.random((2, 12)), right), 5).mean() for _ in range(4000)]
    assert chance_recall(right, 5) == pytest.approx(np.mean(hits), abs=0.02)


def test_the_interval_holds_the_value_and_narrows_with_n() -> None:
    rng = np.random.default_rng(1)
    small, large = bootstrap(rng.random(20)), bootstrap(rng.random(2000))
    for interval in (small, large):
        assert interval.low <= interval.value <= interval.high
    assert large.high - large.low < (small.high - small.low) / 4
    assert bootstrap(rng.random(50), seed=3) != bootstrap(rng.random(50), seed=3)
    assert bootstrap(np.ones(9)).low == bootstrap(np.ones(9)).high == 1
