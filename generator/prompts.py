"""Prompt files: a sentence a line, with the wanted length behind the last ``#``.

    # blank lines and lines that begin with # are skipped
    a person waves with both hands#120
    a person walks, then sits down#NA
    someone jumps

- The length is in frames at 20 per second; ``NA`` or nothing: estimated for that line alone.
- What cannot be a length is an error with its line number; a length out of range is brought into it, and said so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from generator.errors import GeneratorError

FRAMES_PER_SECOND = 20


@dataclass(frozen=True)
class PromptLine:
    """One prompt of a file: ``seconds`` None where the length is to be estimated; ``line`` counts from 1."""

    text: str
    seconds: float | None
    line: int


def parse_prompts(
    text: str, *, shortest_s: float, longest_s: float, warn: Callable[[str], None] = lambda _: None
) -> list[PromptLine]:
    """The prompts of a file's ``text``.

    Raises:
        GeneratorError: there is none, or a line's length is not a number of frames; with the line's number.
    """
    found: list[PromptLine] = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        sentence, mark, length = stripped.rpartition("#")
        if not mark:
            found.append(PromptLine(stripped, None, number))
            continue
        sentence, length = sentence.strip(), length.strip()
        if not sentence:
            raise GeneratorError(f"line {number} has a length but no sentence: {stripped[:60]!r}")
        if length.upper() in ("NA", ""):
            found.append(PromptLine(sentence, None, number))
            continue
        if not re.fullmatch(r"[+-]?\d{1,9}(\.\d+)?", length):
            raise GeneratorError(
                f"line {number}: {length[:20]!r} after the last # is not a number of frames; write {sentence[:40]}#120, or #NA"
            )
        seconds = float(length) / FRAMES_PER_SECOND
        if seconds <= 0:
            raise GeneratorError(f"line {number}: a length of {length} frames; give 1 or more, or NA")
        inside = min(max(seconds, shortest_s), longest_s)
        if inside != seconds:
            warn(
                f"line {number}: {length} frames are outside of {shortest_s * FRAMES_PER_SECOND:g} to "
                f"{longest_s * FRAMES_PER_SECOND:g}; made {inside * FRAMES_PER_SECOND:g}"
            )
        found.append(PromptLine(sentence, inside, number))
    if not found:
        raise GeneratorError("no prompt in the file; write a sentence a line")
    return found
