"""Prompt files: a sentence a line, lengths honoured line by line."""

from __future__ import annotations

import pytest

from generator import GeneratorError, parse_prompts

LIMITS = {"shortest_s": 1.0, "longest_s": 9.8}


def parsed(text: str, warned: list[str] | None = None) -> list[tuple[str, float | None, int]]:
    said: list[str] = [] if warned is None else warned
    return [(p.text, p.seconds, p.line) for p in parse_prompts(text, warn=said.append, **LIMITS)]


def test_lengths_are_those_of_their_own_line() -> None:
    text = "\ufeff# a comment\n\na person waves # 120 \na person walks#NA\r\n  jumps#  \nsings #1 song#60\nno length"
    assert parsed(text) == [
        ("a person waves", 6.0, 3), ("a person walks", None, 4), ("jumps", None, 5),
        ("sings #1 song", 3.0, 6), ("no length", None, 7),
    ]  # fmt: skip


def test_a_length_out_of_range_is_brought_into_it_and_said_so() -> None:
    warned: list[str] = []
    assert parsed("a#4\nb#4000\nc#100", warned) == [("a", 1.0, 1), ("b", 9.8, 2), ("c", 5.0, 3)]
    assert len(warned) == 2 and "line 1" in warned[0] and "line 2" in warned[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\nb#soon", "line 2"), ("#\n\n# nothing", "no prompt"), ("", "no prompt"), ("x#-5", "line 1"), ("x#0", "line 1"),
        ("x#1e3", "line 1"), ("  #120", "no prompt"), ("x#9999999999999", "line 1"),
    ],
)  # fmt: skip
def test_files_that_hold_no_prompt_say_where(text: str, words: str) -> None:
    with pytest.raises(GeneratorError, match=words):
        parsed(text)
