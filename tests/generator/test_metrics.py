from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from generator.errors import GeneratorError
from generator.metrics import (
    diversity,
    draw_pools,
    fid,
    kid,
    mm_dist,
    multimodality,
    paired_difference,
    pool_hits,
    r_precision,
    repeated,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def rows(count: int, dim: int = 8, seed: int = 0) -> NDArray[np.float64]:
    return rng(seed).normal(size=(count, dim))


# Pools and R-precision


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=4, max_size=80), st.integers(2, 6), st.integers(0, 5))
def test_pools_hold_every_row_at_most_once_and_no_group_twice(groups: list[int], pool: int, seed: int) -> None:
    if len(set(groups)) < pool or len(groups) < pool:
        with pytest.raises(GeneratorError, match="do not fill"):
            draw_pools(len(groups), rng=rng(seed), pool=pool, groups=groups)
        return
    pools = draw_pools(len(groups), rng=rng(seed), pool=pool, groups=groups)
    assert pools.shape[1] == pool and len(np.unique(pools)) == pools.size
    assert all(len(set(np.array(groups)[members])) == pool for members in pools)
    # As many pools as can be: one more would need more rows than the groups may give it.
    more = len(pools) + 1
    assert more > len(groups) // pool or np.minimum(np.unique(groups, return_counts=True)[1], more).sum() < more * pool


def test_a_row_is_in_a_pool_of_distinct_groups_as_often_as_its_group_allows() -> None:
    groups = [0, 0, 0, *range(1, 14)]  # 16 rows, 14 groups
    met = np.zeros(16)
    for seed in range(400):
        pools = draw_pools(16, rng=rng(seed), pool=4, groups=groups)
        assert pools.shape == (4, 4)
        met[pools.ravel()] += 1
    assert (met == 400).all()
    together = sum(
        3 in pool and 4 in pool for seed in range(400) for pool in draw_pools(16, rng=rng(seed), pool=4, groups=groups)
    )
    assert 40 < together < 120  # chance is 3 / 15 of 400


def test_official_pools_leave_out_only_what_fills_none() -> None:
    pools = draw_pools(100, rng=rng(), pool=32)
    assert pools.shape == (3, 32) and len(np.unique(pools)) == 96


def test_r_precision_of_identity_is_one_and_of_chance_is_k_over_pool() -> None:
    embeddings = rows(640)
    assert np.array_equal(r_precision(embeddings, embeddings, rng=rng()), [1, 1, 1])
    chance = np.mean(
        [r_precision(rows(640, seed=2 * s), rows(640, seed=2 * s + 1), rng=rng(s)) for s in range(20)], axis=0
    )
    assert np.allclose(chance, np.array([1, 2, 3]) / 32, atol=0.01)


def test_r_precision_of_a_single_motion_is_exactly_chance() -> None:
    found = r_precision(rows(64), np.ones((64, 8)), rng=rng(), top=(1, 3, 32, 40))
    assert np.allclose(found, [1 / 32, 3 / 32, 1, 1], atol=1e-15)


def test_ties_count_as_the_mean_over_their_random_orders() -> None:
    motion = np.array([[0.0], [0.0], [1.0], [5.0]])
    text = np.array([[0.0], [0.0], [0.5], [4.0]])
    hits = pool_hits(text, motion, np.arange(4)[None], top=(1, 2, 3))
    assert np.array_equal(hits[0], [[1 / 2, 1, 1], [1 / 2, 1, 1], [1 / 3, 2 / 3, 1], [1, 1, 1]])


def test_r_precision_agrees_with_sorting_where_nothing_is_tied() -> None:
    text, motion = rows(96), rows(96) + 0.8 * rows(96, seed=1)
    pools = draw_pools(96, rng=rng(3), pool=32)
    places = [
        np.argsort(np.linalg.norm(text[row] - motion[pool], axis=1)).tolist().index(own)
        for pool in pools
        for own, row in enumerate(pool)
    ]
    expected = [np.mean(np.array(places) < k) for k in (1, 2, 3)]
    assert np.allclose(r_precision(text, motion, rng=rng(3)), expected)


def test_figures_of_distance_ignore_moving_and_turning_and_follow_scale() -> None:
    text, motion = rows(64), rows(64) + rows(64, seed=1)
    turned = np.linalg.qr(rows(8, seed=9))[0]

    def changed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 3 * x @ turned + 5

    assert np.allclose(r_precision(text, motion, rng=rng()), r_precision(changed(text), changed(motion), rng=rng()))
    assert np.isclose(mm_dist(changed(text), changed(motion)), 3 * mm_dist(text, motion))
    assert np.isclose(diversity(changed(text), rng=rng(), pairs=20), 3 * diversity(text, rng=rng(), pairs=20))
    assert np.isclose(fid(changed(text), changed(motion)), 9 * fid(text, motion))


def test_duplicate_captions_cap_the_official_figure_and_not_the_distinct_one() -> None:
    captions = np.repeat(rows(64), 4, axis=0)
    groups = np.repeat(np.arange(64), 4)
    motion = captions + 1e-6 * rows(256, seed=1)
    assert r_precision(captions, motion, rng=rng(), groups=groups, distinct=False)[0] < 0.95
    assert r_precision(captions, motion, rng=rng(), groups=groups)[0] == 1
    assert np.array_equal(
        r_precision(captions, motion, rng=rng(), groups=groups, distinct=False),
        r_precision(captions, motion, rng=rng()),
    )


# Distances of sets


def test_fid_of_a_set_and_itself_is_zero_in_any_order_and_when_singular() -> None:
    for embeddings in (rows(500, 16), rows(10, 64), 1e3 * rows(40, 16) * np.array([1, 0] * 8)):
        assert fid(embeddings, rng().permutation(embeddings)) < 1e-9 * np.abs(embeddings).max() ** 2


def test_fid_is_the_published_formula_and_symmetric() -> None:
    real, made = rows(300, 12) @ rows(12, 12, seed=3), rows(200, 12, seed=1) @ rows(12, 12, seed=4) + 0.3
    first, second = np.cov(real, rowvar=False), np.cov(made, rowvar=False)
    gap = real.mean(axis=0) - made.mean(axis=0)
    expected = gap @ gap + np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert np.isclose(fid(real, made), expected, rtol=1e-8)
    assert np.isclose(fid(made, real), expected, rtol=1e-8)


def test_fid_of_a_moved_set_is_the_squared_way() -> None:
    assert np.isclose(fid(rows(100), rows(100) + 2), 8 * 4)


def test_fid_of_few_rows_is_biased_upwards_and_kid_is_not() -> None:
    seeds = range(60)
    few = [(rows(20, seed=2 * s + 100), rows(20, seed=2 * s + 101)) for s in seeds]
    kids = np.array([kid(a, b) for a, b in few])
    assert np.mean([fid(a, b) for a, b in few]) > 5 * fid(rows(5000, seed=5), rows(5000, seed=6))
    assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids))
    assert kid(rows(200), rows(200, seed=1) + 1) > 10 * kids.std()


def test_kid_is_its_definition_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = rows(13), rows(9, seed=1) + 0.5

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        return float((x @ y / 8 + 1) ** 3)

    def within(s: NDArray[np.float64]) -> float:
        return float(np.mean([kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]))

    expected = within(real) + within(made) - 2 * np.mean([kernel(x, y) for x in real for y in made])
    assert np.isclose(kid(real, made), expected)
    monkeypatch.setattr("generator.metrics._BLOCK", 4)
    assert np.isclose(kid(real, made), expected)


# Spread


def test_diversity_of_one_point_is_zero_and_of_noise_is_its_expected_distance() -> None:
    assert diversity(np.ones((50, 8)), rng=rng(), pairs=30) == 0
    assert np.isclose(diversity(rows(20_000, 512), rng=rng(), pairs=300), np.sqrt(2 * 512), rtol=0.02)


def test_multimodality_sees_spread_within_texts_only() -> None:
    centres = 100 * rows(6)[:, None]
    same = np.broadcast_to(centres, (6, 30, 8))
    noise = rng(1).normal(size=(6, 30, 8))
    assert multimodality(same, rng=rng()) == 0
    assert np.isclose(multimodality(same + noise, rng=rng()), multimodality(noise, rng=rng()))
    assert multimodality(noise, rng=rng()) > 0


# Intervals


def test_repeats_become_mean_and_its_interval() -> None:
    values = rows(20, 1)[:, 0]
    interval = repeated(values)
    assert np.isclose(interval.value, values.mean())
    assert np.isclose(interval.high - interval.value, 1.96 * values.std() / np.sqrt(20))
    assert np.isclose(interval.value - interval.low, interval.high - interval.value)
    assert repeated([0.5]).low == repeated([0.5]).high == 0.5
    assert str(repeated([1.0, 3.0])) == "2.000 ± 1.386"


def test_a_paired_difference_is_found_under_noise_that_both_share() -> None:
    shared = 10 * rows(200, 1)[:, 0]
    better = paired_difference(shared + 0.1 + 0.1 * rows(200, 1, seed=1)[:, 0], shared, rng=rng(), draws=500)
    assert 0 < better.low < better.value < better.high
    none = paired_difference(shared, shared, rng=rng(), draws=50)
    assert (none.value, none.low, none.high) == (0, 0, 0)
    with pytest.raises(GeneratorError, match="not paired"):
        paired_difference([1.0], [1.0, 2.0], rng=rng())


# What is refused

CALLS: dict[str, Callable[[NDArray[np.float64]], object]] = {
    "r_precision": lambda x: r_precision(x, x, rng=rng()),
    "r_precision of text": lambda x: r_precision(x, np.nan_to_num(x), rng=rng()),
    "mm_dist": lambda x: mm_dist(np.nan_to_num(x), x),
    "fid": lambda x: fid(np.nan_to_num(x), x),
    "kid": lambda x: kid(x, np.nan_to_num(x)),
    "diversity": lambda x: diversity(x, rng=rng(), pairs=10),
    "multimodality": lambda x: multimodality(x[None], rng=rng(), pairs=10),
    "repeated": lambda x: repeated(x[:, 0]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_an_error_that_says_so(
    call: Callable[[NDArray[np.float64]], object], value: float
) -> None:
    embeddings = rows(40)
    call(embeddings)
    embeddings[7, 0] = value
    with pytest.raises(GeneratorError, match="not finite"):
        call(embeddings)


def test_too_little_or_unpaired_is_an_error() -> None:
    with pytest.raises(GeneratorError, match="31 pairs do not fill a pool of 32"):
        r_precision(rows(31), rows(31), rng=rng())
    with pytest.raises(GeneratorError, match="one id a row"):
        r_precision(rows(64), rows(64), rng=rng(), groups=[1, 2])
    with pytest.raises(GeneratorError, match="not paired"):
        mm_dist(rows(4), rows(5))
    with pytest.raises(GeneratorError, match="one evaluator"):
        fid(rows(4, 3), rows(4, 5))
    with pytest.raises(GeneratorError, match="no spread"):
        kid(rows(4), rows(1))
    with pytest.raises(GeneratorError, match="300 pairs cannot be drawn from 200 motions"):
        diversity(rows(200), rng=rng())
    with pytest.raises(GeneratorError, match="none of them empty"):
        repeated([])
