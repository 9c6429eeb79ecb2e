"""Several motions for a sentence, of which the retrieval encoder keeps the one that fits it best.

- The judge of the candidates is the encoder that will search the library: what it ranks first is what is found again by the
  same words. It is no independent judge, so evaluation never chooses in this way.
- The first candidate has the seed that was asked for; more candidates can only replace it by one that fits better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from remora.errors import RemoraError

if TYPE_CHECKING:
    from encoders import DualEncoder
    from generator import Generated, Generator, Prompt, Sampling
    from generator.sampling import Progress

TOGETHER = 32  # motions made in one batch
DEFAULT_CANDIDATES = 4  # of a sentence, on the command line and in the studio alike
MOST = 32


def seeds_of(seed: int, count: int) -> list[int]:
    """The seeds of ``count`` candidates, the first as it is; far apart, so that neighbouring seeds share none."""
    return [(seed + 7_919_003 * turn) % 2**31 for turn in range(count)]


def best_of(
    generator: Generator,
    encoder: DualEncoder,
    prompts: Sequence[Prompt],
    count: int,
    *,
    sampling: Sampling,
    progress: Progress | None = None,
) -> Iterator[Generated]:
    """For each prompt the best of ``count`` motions; ``notes["candidates"]`` has seed and cosine of all, best first.

    Raises:
        RemoraError: ``count`` is not between 1 and 32.
    """
    if not 1 <= count <= MOST:
        raise RemoraError(f"{count} candidates: give 1 to {MOST}")
    step = max(1, TOGETHER // count)
    for start in range(0, len(prompts), step):
        some = prompts[start : start + step]
        drawn = [replace(p, seed=seed) for p in some for seed in seeds_of(p.seed, count)]
        made = list(generator.generate(drawn, sampling=sampling, batch=TOGETHER, progress=progress))
        motions = encoder.encode_motion([x.clip for x in made]).whole
        words = encoder.encode_text([p.text for p in some]).whole
        for row, prompt in enumerate(some):
            own = range(row * count, (row + 1) * count)
            scores = {i: float(motions[i] @ words[row]) for i in own}
            ranked = sorted(own, key=lambda i: (-scores[i], i))
            told = [{"seed": made[i].prompt.seed, "score": round(scores[i], 4)} for i in ranked]
            best = made[ranked[0]]
            yield replace(best, prompt=prompt, notes={**best.notes, "candidates": told})
