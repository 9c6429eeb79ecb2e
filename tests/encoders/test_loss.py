"""The loss: what may be a negative, what may not, and what the queue remembers."""

from __future__ import annotations

import math

import pytest
import torch

from encoders.part_momentum.loss import Keys, Labels, Queue, contrastive_loss, false_negatives, info_nce
from encoders.part_momentum.model import Towers


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)


def labels(count: int, *, first: int = 0, **changes: torch.Tensor) -> Labels:
    values = {
        "family": torch.arange(first, first + count),
        "group": torch.arange(first, first + count),
        "motion_style": torch.zeros(count, dtype=torch.long),
        "caption_style": torch.zeros(count, dtype=torch.long),
        "sentence": torch.eye(64)[first : first + count],
        "sides": torch.zeros(count, 2, dtype=torch.bool),
    }
    return Labels(**(values | changes))


def towers(count: int, parts: int = 2, dim: int = 16, seed: int = 0, views: int = 2) -> Towers:
    return Towers(
        unit(count, dim, seed=seed), unit(count, parts, dim, seed=seed + 1), unit(count, views, dim, seed=seed + 2)
    )


def test_same_clip_class_and_sentence_are_never_negatives() -> None:
    own = labels(4)
    other = labels(4, first=10, family=torch.tensor([0, 11, 12, 13]), group=torch.tensor([10, 1, 12, 13]),
                   sentence=torch.eye(64)[torch.tensor([10, 11, 2, 13])])  # fmt: skip
    masked = false_negatives(own, other, styles=True, to_text=True)
    assert masked.nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]


def test_close_sentences_that_name_another_side_stay_negatives() -> None:
    sentence = torch.eye(64)[torch.tensor([0, 0])]
    sides = torch.tensor([[True, False], [False, True]])
    masked = false_negatives(labels(2, sentence=sentence, sides=sides), labels(2, sentence=sentence, sides=sides),
                             styles=True, to_text=True)  # fmt: skip
    assert masked.tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("to_text", [True, False])
def test_a_named_style_tells_clips_of_one_class_apart(to_text: bool) -> None:
    own = labels(2, group=torch.tensor([5, 5]), motion_style=torch.tensor([1, 2]), caption_style=torch.tensor([1, 2]))
    assert false_negatives(own, own, styles=True, to_text=to_text).tolist() == [[True, False], [False, True]]
    assert false_negatives(own, own, styles=False, to_text=to_text).all()


def test_without_the_mask_only_the_same_take_is_no_negative() -> None:
    own = labels(3, group=torch.tensor([5, 5, 5]), family=torch.tensor([0, 0, 1]))
    masked = false_negatives(own, own, styles=False, to_text=True, mask=False)
    assert masked.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def cost(motion: Towers, text: Towers, own: Labels, keys: Keys | None) -> float:
    return float(
        contrastive_loss(motion, text, own, torch.tensor(10.0), keys=keys, key_weight=1.0, part_weight=1.0).total
    )


def test_a_clip_in_the_queue_is_no_negative_of_itself_but_of_others() -> None:
    motion, text = towers(1), towers(1, seed=7, views=0)
    queue = Queue(8, 16, 2, 2, 64)
    alone = cost(motion, text, labels(1), Keys(motion, text, queue))
    assert alone == pytest.approx(0.0, abs=1e-6)  # nothing but the own pair
    queue.push(motion, text, labels(1))
    assert cost(motion, text, labels(1), Keys(motion, text, queue)) == pytest.approx(0.0, abs=1e-6)
    queue.push(towers(3, seed=20), towers(3, seed=30, views=0), labels(3, first=40))
    assert cost(motion, text, labels(1), Keys(motion, text, queue)) > 1e-3


def test_the_queue_starts_empty_and_keeps_the_newest() -> None:
    queue = Queue(6, 16, 2, 2, 64)
    assert len(queue.labels()) == 0
    for step in range(4):
        queue.push(towers(2, seed=step), towers(2, seed=step + 50, views=0), labels(2, first=2 * step))
    assert sorted(queue.labels().family.tolist()) == [2, 3, 4, 5, 6, 7]
    kept = queue.keys("motion")
    assert (kept.whole.shape, kept.parts.shape, kept.views.shape) == ((6, 16), (6, 2, 16), (6, 2, 16))
    torch.testing.assert_close(kept.whole[:2], towers(2, seed=3).whole)  # the newest lie over the oldest


def test_logits_are_bounded_by_the_inverse_temperature() -> None:
    q, k = unit(5, 16), unit(9, 16, seed=3)
    none = torch.zeros(5, 9, dtype=torch.bool)
    scale = torch.tensor(14.3)
    worst = 2 * float(scale) + math.log(9)  # logits lie in [-scale, scale]
    assert 0 <= float(info_nce(q, k, none, scale)) <= worst


def test_a_perfect_match_costs_less_than_a_shuffled_one() -> None:
    vectors = towers(8)
    shuffled = Towers(*(x.roll(1, 0) for x in vars(vectors).values()))
    assert 4 * cost(vectors, vectors, labels(8), None) < cost(vectors, shuffled, labels(8), None)


def test_a_hard_negative_counts_for_its_own_query_alone() -> None:
    motion, text, own = towers(3), towers(3, seed=7), labels(3)
    wrong = Towers(*(x[1:2] for x in vars(motion).values()))  # as near to the second motion as can be

    def total(hard: tuple[torch.Tensor, Towers] | None) -> float:
        return float(contrastive_loss(motion, text, own, torch.tensor(10.0), keys=None, hard=hard).total)

    none = total(None)
    assert total((torch.tensor([1]), wrong)) > none + 0.5
    assert total(
        (torch.tensor([], dtype=torch.long), Towers(*(x[:0] for x in vars(motion).values())))
    ) == pytest.approx(none)


def test_every_view_is_held_against_the_sentence() -> None:
    vectors = towers(8)
    shuffled = Towers(vectors.whole, vectors.parts, vectors.views.roll(1, 0))
    same = Towers(vectors.whole, vectors.parts, vectors.whole[:, None].repeat(1, 2, 1))
    assert cost(same, vectors, labels(8), None) < cost(shuffled, vectors, labels(8), None)
