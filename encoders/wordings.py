"""Other ways to say a class: wordings and style phrases that training draws its captions from.

- Some wordings of each class are held out, chosen by their hash: validation looks at them, training never does.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from encoders.errors import EncoderError

HELD_OUT_WORDINGS = 3  # a class


@dataclass(frozen=True)
class WordingBank:
    """Other ways to say a class, and phrases that name a style."""

    classes: Mapping[str, tuple[str, ...]]
    held_out: Mapping[str, tuple[str, ...]]
    styles: Mapping[str, tuple[str, ...]]


def read_wordings(folder: Path | None) -> WordingBank:
    """``wordings.parquet`` and ``style_wordings.parquet`` of ``folder``; an empty bank where it is None."""
    if folder is None:
        return WordingBank({}, {}, {})
    import pyarrow.parquet as pq

    classes: dict[str, list[str]] = defaultdict(list)
    styles: dict[str, list[str]] = defaultdict(list)
    try:
        for row in pq.read_table(folder / "wordings.parquet").to_pylist():
            classes[row["class_id"]].append(row["wording"])
        for row in pq.read_table(folder / "style_wordings.parquet").to_pylist():
            styles[row["style"]].append(row["wording"])
    except (OSError, KeyError) as error:
        raise EncoderError(
            f"cannot read the wordings in {folder}: {error}; give a folder with wordings.parquet"
        ) from error
    kept, held = {}, {}
    for name, wordings in classes.items():
        order = sorted(wordings, key=lambda w: hashlib.sha256(f"{name}|{w}".encode()).digest())
        held[name], kept[name] = tuple(order[:HELD_OUT_WORDINGS]), tuple(order[HELD_OUT_WORDINGS:])
    return WordingBank(kept, held, {style: tuple(w) for style, w in styles.items()})


def with_style(sentence: str, phrase: str) -> str:
    """An action sentence with a style phrase behind it."""
    return f"{sentence.rstrip('. ')}, {phrase}"
