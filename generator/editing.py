"""Editing: generation with some tokens fixed.

- A range of seconds, some body parts, or both are made anew; all other tokens are kept on every level, and the frames they
  stand for are put back as they were, blended over a few frames at the seams.
- Before, after, and closing a loop are ranges too: tokens are put in front, behind, or between the end and a second start.
- Tokens are ``patch`` frames long, so a range grows to the next token; the real range is reported.
- Of a long clip the models see windows, no longer than what they have learned from.
- A frame tells the root's step since the one before: what follows an edited range goes on from where the edit ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from generator.errors import GeneratorError
from generator.exemplars import ExemplarClip
from generator.frames import clip_to_frames
from generator.model import LONGEST_S, Generated, Generator, Prompt
from generator.sampling import UNKNOWN, Progress, Sampling
from motion import PARTS, Clip

BLEND = 3  # frames at a seam


@dataclass(frozen=True)
class Edit:
    """What is to be made anew.

    ``start_s``, ``end_s``: the range (None: from the start, to the end); ``parts``: only these; ``before_s``, ``after_s``:
    seconds to put in front or behind; ``loop_s``: seconds that lead from the end back to the start.
    """

    start_s: float | None = None
    end_s: float | None = None
    parts: tuple[str, ...] = ()
    before_s: float = 0.0
    after_s: float = 0.0
    loop_s: float = 0.0


@dataclass(frozen=True)
class Edited:
    """The edited motion, and the seconds that were really made anew (of the new motion)."""

    result: Generated
    start_s: float
    end_s: float
    parts: tuple[str, ...]


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """Known body parts; GeneratorError names the nearest otherwise."""
    for part in parts:
        if part not in PARTS:
            near = get_close_matches(part, PARTS, 1, 0.4)
            hint = f"did you mean {near[0]}?" if near else f"use {', '.join(PARTS)}"
            raise GeneratorError(f"unknown body part {part!r}; {hint}")
    return tuple(parts)


def edit(
    generator: Generator,
    clip: Clip,
    what: Edit,
    *,
    text: str = "",
    seed: int = 0,
    exemplars: Sequence[ExemplarClip] = (),
    sampling: Sampling | None = None,
    progress: Progress | None = None,
) -> Edited:
    """A clip with a part of it made anew from ``text`` and ``exemplars``.

    Raises:
        GeneratorError: the range lies outside the clip, a part is unknown, or there is nothing to do.
    """
    patch, spec = generator.tokenizer.config.patch, generator.spec
    frames = clip_to_frames(clip, spec)
    duration = len(frames) / spec.fps
    parts = check_parts(what.parts)
    if parts and generator.tokenizer.config.layout != "parts":
        raise GeneratorError("this generator has one token for the whole body; edit parts with one of layout 'parts'")
    start, end = _range(what, duration)
    extra = -len(frames) % patch
    frames = np.concatenate([frames, np.repeat(frames[-1:], extra, axis=0)]) if extra else frames
    ids = generator.tokenizer.encode_frames([frames])[0].astype(np.int64)
    rows = [i for i, row in enumerate(generator.tokenizer.config.rows) if not parts or row in parts]
    known = ids.copy()
    first, last = int(start * spec.fps // patch), int(np.ceil(end * spec.fps / patch - 1e-9))
    new = _tokens(what.before_s, generator), _tokens(what.after_s, generator), _tokens(what.loop_s, generator)
    if not (what.before_s or what.after_s or what.loop_s):
        known[rows, first:last] = UNKNOWN
        base, made = frames, (first, last)
    else:
        if parts:
            raise GeneratorError(
                "parts can be made anew inside a clip, not put before or after it; drop the parts or the rest"
            )
        known, base, made = _extended(known, frames, new, patch)
    longest = round(LONGEST_S / generator.token_s)
    for turn, (first, last) in enumerate(_windows(made, known.shape[1], longest)):
        prompt = Prompt(text or _caption(clip), None, seed + turn, tuple(exemplars), known[:, first:last])
        (result,) = generator.generate([prompt], sampling=sampling or Sampling(), progress=progress)
        known[:, first:last] = result.tokens
    (new_frames,) = generator.tokenizer.decode_ids([known])
    merged = put_back(base, new_frames, (made[0] * patch, made[1] * patch), _columns(generator, parts))
    tail = known.shape[1] * patch - extra if not any(new) else known.shape[1] * patch
    if what.loop_s:  # the second start was only there to aim at
        tail = len(frames) + new[2] * patch
    prompt = replace(prompt, seed=seed, known=None)
    finished = generator.finish(prompt, merged[:tail], known.astype(np.int16), result.exemplars, smoothing=0.0)
    return Edited(finished, made[0] * patch / spec.fps, min(made[1] * patch, tail) / spec.fps, parts or PARTS)


def _windows(made: tuple[int, int], count: int, longest: int) -> list[tuple[int, int]]:
    """Spans [first, last) of ``count`` tokens, at most ``longest`` each, that together hold those to be made.

    One where it fits with what is around it; else one after the other, each seeing the end of the one before.
    """
    if count <= longest:
        return [(0, count)]
    around = longest // 4
    if made[1] - made[0] + 2 * around <= longest:
        first = min(max(0, (made[0] + made[1] - longest) // 2), count - longest)
        return [(first, first + longest)]
    spans, at = [], made[0]
    while at < made[1]:
        first = min(max(0, at - around), count - longest)
        at = first + longest
        spans.append((first, at))
    return spans


def put_back(
    base: NDArray[np.float32], made: NDArray[np.float32], span: tuple[int, int], columns: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    """``base`` [T, C] with frames ``span`` (and ``columns``) taken from ``made`` [T, C], blended inside the span."""
    start, end = span
    share = np.zeros(len(base), np.float32)
    share[start:end] = 1
    ramp = (np.arange(BLEND) + 1) / (BLEND + 1)
    length = end - start
    if start > 0:
        share[start : start + min(BLEND, length)] = ramp[: min(BLEND, length)]
    if end < len(base):
        n = min(BLEND, length)
        share[end - n : end] = np.minimum(share[end - n : end], ramp[::-1][-n:])
    mix = share[:, None] * made + (1 - share[:, None]) * base
    if columns is None:
        return np.asarray(mix, np.float32)
    out = base.copy()
    out[:, columns] = mix[:, columns]
    return out


def _extended(
    ids: NDArray[np.int64], frames: NDArray[np.float32], new: tuple[int, int, int], patch: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], tuple[int, int]]:
    before, after, loop = new
    if sum(n > 0 for n in new) > 1:
        raise GeneratorError("put motion before, after, or close a loop: one at a time")

    def gap(n: int, *around: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Tokens to be made, and what their seams blend into: the poses ``around`` held, each for its share."""
        held = np.repeat(np.stack(around), n * patch // len(around), axis=0)
        return np.full((ids.shape[0], n, ids.shape[2]), UNKNOWN), held

    count = ids.shape[1]
    if before:
        empty, held = gap(before, frames[0])
        return np.concatenate([empty, ids], 1), np.concatenate([held, frames]), (0, before)
    if after:
        empty, held = gap(after, frames[-1])
        return np.concatenate([ids, empty], 1), np.concatenate([frames, held]), (count, count + after)
    aim = min(count, 4)
    empty, held = gap(loop, frames[-1], frames[0])
    known = np.concatenate([ids, empty, ids[:, :aim]], 1)
    return known, np.concatenate([frames, held, frames[: aim * patch]]), (count, count + loop)


def _tokens(seconds: float, generator: Generator) -> int:
    if seconds == 0:
        return 0
    if not 0 < seconds <= 8:
        raise GeneratorError(f"{seconds:g} s of new motion; give more than 0 and up to 8")
    return max(1, round(seconds / generator.token_s))


def _range(what: Edit, duration: float) -> tuple[float, float]:
    start = 0.0 if what.start_s is None else what.start_s
    end = duration if what.end_s is None else what.end_s
    if not 0 <= start < end <= duration + 1e-6:
        raise GeneratorError(
            f"the range {start:g} to {end:g} s is not inside the clip; give 0 <= start < end <= {duration:.2f}"
        )
    return start, end


def _columns(generator: Generator, parts: tuple[str, ...]) -> NDArray[np.int64] | None:
    if not parts:
        return None
    own = {part: set(columns.tolist()) for part, columns in generator.spec.part_columns.items()}
    kept = set().union(*(columns for part, columns in own.items() if part not in parts))
    return np.array(sorted(set().union(*(own[part] for part in parts)) - kept))  # what arms hang from stays


def _caption(clip: Clip) -> str:
    return clip.captions[0].text if clip.captions else "a person moves"
