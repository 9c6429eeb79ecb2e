"""Sentences about clips that stand beside them: caption files, and the names of files themselves.

- A caption file (``--captions``) is csv, tsv, json, jsonl or parquet with the columns ``clip`` (or ``take``, ``file``)
  and ``caption``; ``start_s`` and ``end_s`` are optional seconds. JSON may also be ``{clip: sentence or list of
  sentences}``.
- A clip is named by its path inside the source, with or without suffix, or by its bare name where that is not
  ambiguous. A name that matches nothing is an error: silence would lose captions.
- A file name makes a *template* caption only where it holds words of three letters with a vowel (numbers and ``take03``
  are none): ``salsa_10`` -> "salsa". Names of the Bandai Namco sets, ``dataset-1_walk-back_old_001``, say content
  and style: "walk back, old style".
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from motion.clip import Caption
from motion.errors import FileFormatError
from motion.files.text import decode_names, read_bytes

CLIP_COLUMNS = ("clip", "take", "file", "clip_id", "name", "path")
TEXT_COLUMNS = ("caption", "text", "captions", "description", "sentence")
_BANDAI = re.compile(r"dataset-\d+_(?P<content>[a-z-]+)_(?P<style>[a-z]+)_\d+$")
_BANDAI_WORDS = {"bye": "wave goodbye with one hand", "byebye": "wave goodbye with both hands", "dash": "sprint"}
_NO_WORDS = frozenset(
    "take takes clip clips mocap bvh amc npy npz seq sequence trial dataset data motion anim animation final copy "
    "export test sample subject skeleton character cut scene session rec recording new tmp temp output joints poses "
    "stageii".split()
)
_PIECES = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[^\W\d_A-Z]+|[A-Z]+")


def caption_of_name(stem: str) -> tuple[Caption | None, Mapping[str, str]]:
    """A template caption from a file's stem, and labels (``class_id``, ``class_text``, ``style``) where the name has
    them.

    ``(None, {})`` when the name holds no words.
    """
    match = _BANDAI.match(stem)
    if match:
        content, style = match["content"], match["style"]
        text = _BANDAI_WORDS.get(content, content.replace("-", " "))
        labels = {"class_id": content.replace("-", "_"), "class_text": text}
        if style != "normal":
            labels["style"] = style
        return Caption(styled(text, labels.get("style", "")), kind="template"), labels
    words = [piece.lower() for piece in _PIECES.findall(stem)]
    words = [word for word in words if word not in _NO_WORDS and _is_word(word)]
    return (Caption(" ".join(words), kind="template"), {}) if words else (None, {})


def _is_word(word: str) -> bool:
    """Three letters with a vowel among them; other scripts than Latin always."""
    return not word.isascii() or (len(word) > 2 and re.search(r"[aeiouy]", word) is not None)


def styled(text: str, style: str) -> str:
    """``"a person walks"`` in a style: ``"a person walks, angry style"``; unchanged without one."""
    return f"{text}, {style.replace('_', ' ')} style" if style else text


def read_captions(path: Path) -> dict[str, tuple[Caption, ...]]:
    """Captions by clip name, in file order.

    Raises:
        FileFormatError: the file is damaged, of an unknown suffix, or lacks a column.
    """
    found: dict[str, list[Caption]] = {}
    for number, row in enumerate(_caption_rows(path), start=1):
        if not isinstance(row, Mapping):
            raise FileFormatError(f"{path}: entry {number} is no object with clip and caption; see the documentation")
        name, texts = _pick(row, CLIP_COLUMNS), _pick(row, TEXT_COLUMNS)
        if name is None or texts is None:
            lacking = f"clip (or {', '.join(CLIP_COLUMNS[1:3])})" if name is None else "caption"
            raise FileFormatError(f"{path}: entry {number} has no {lacking}, only {list(row)[:8]}; name the column so")
        span = _seconds(row, ("start_s", "start"), path, number), _seconds(row, ("end_s", "end"), path, number)
        for text in texts if isinstance(texts, list | tuple) else [texts]:
            if str(text).strip():
                found.setdefault(str(name), []).append(Caption(" ".join(str(text).split()), *span))
    if not found:
        raise FileFormatError(f"{path}: holds no captions; write one row a caption with the columns clip and caption")
    return {name: tuple(captions) for name, captions in found.items()}


def _caption_rows(path: Path) -> Iterable[Any]:
    """The entries of a caption file, by its suffix."""
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _table(path, "\t" if suffix == ".tsv" else None)
    if suffix == ".jsonl":
        return _json_lines(path)
    if suffix == ".json":
        return _json_rows(path)
    if suffix == ".parquet":
        return _parquet(path)
    raise FileFormatError(f"{path}: caption files end in .csv, .tsv, .json, .jsonl or .parquet; rename or convert it")


def _pick(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if row.get(name) not in (None, ""):
            return row[name]
    return None


def _seconds(row: Mapping[str, Any], names: tuple[str, ...], path: Path, number: int) -> float:
    value = _pick(row, names)
    try:
        seconds = float(value) if value is not None else 0.0
    except (TypeError, ValueError):
        seconds = -1.0
    if math.isnan(seconds):
        return 0.0
    if not 0.0 <= seconds < 1e7:
        raise FileFormatError(
            f"{path}: entry {number} has {names[0]} {value!r}; write seconds from the clip's beginning"
        )
    return seconds


def _table(path: Path, delimiter: str | None) -> Iterable[Mapping[str, Any]]:
    text = decode_names(read_bytes(path, "captions"))
    head = text.split("\n", 1)[0]
    if delimiter is None:
        delimiter = max(",;\t", key=head.count)
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise FileFormatError(f"{path}: no proper table ({error}); quote captions that hold a {delimiter!r}") from error
    return [{str(key).strip().lower(): value for key, value in row.items() if key is not None} for row in rows]


def _json_lines(path: Path) -> Iterable[Any]:
    lines = decode_names(read_bytes(path, "captions")).split("\n")
    return [_loads(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _json_rows(path: Path) -> Iterable[Any]:
    loaded = _loads(decode_names(read_bytes(path, "captions")), path, 1)
    if isinstance(loaded, list):
        return loaded
    if not isinstance(loaded, dict):
        raise FileFormatError(f"{path}: holds a {type(loaded).__name__}; write a list of objects or {{clip: caption}}")
    rows: list[Any] = []
    for name, value in loaded.items():
        for item in value if isinstance(value, list) else [value]:
            rows.append({**item, "clip": name} if isinstance(item, dict) else {"clip": name, "caption": item})
    return rows


def _loads(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: line {line} is no JSON ({error}); repair it") from error


def _parquet(path: Path) -> Iterable[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path}: no readable Parquet ({error}); write it again") from error
    rows: list[Mapping[str, Any]] = table.to_pylist()
    return rows
