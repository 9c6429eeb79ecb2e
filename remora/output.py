"""What commands write: data to stdout, talk to stderr.

- ``--json`` prints one JSON value and nothing else; tables are for people and are as wide as the terminal.
- Progress bars live on stderr, and only where somebody watches: not with ``--json``, not in a pipe.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PIPE_WIDTH = 150  # of a table that goes to a file or a pipe


def write_json(data: Any) -> None:
    """One JSON value on stdout; numbers that are none (NaN, infinity), which JSON does not know, become null."""
    sys.stdout.write(json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def write_line(text: str) -> None:
    """A line of data on stdout."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A line of talk on stderr."""
    sys.stderr.write(text + "\n")


def write_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str = "", fold: Sequence[str] = ()
) -> None:
    """A table on stdout; numbers stand right, columns in ``fold`` are not cut (ids one wants to copy)."""
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    natural = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    keep = [name in fold for name in columns]
    for position, width in enumerate(_fitted(natural, keep, console.width - 3 * len(columns))):
        numbers = bool(rows) and all(isinstance(row[position], int | float) for row in rows)
        table.add_column(
            columns[position], justify="right" if numbers else "left",
            overflow="fold" if keep[position] else "ellipsis", no_wrap=not keep[position], width=width,
        )  # fmt: skip
    for row_cells in cells:
        table.add_row(*map(escape, row_cells))
    console.print(table)


def _fitted(widths: Sequence[int], keep: Sequence[bool], most: int) -> list[int]:
    """Column widths that sum to ``most`` at best: the widest gives way, one to ``keep`` only when no other can."""
    fitted = list(widths)
    while sum(fitted) > most and max(fitted) > 8:
        free = [at for at, width in enumerate(fitted) if not keep[at] and width > 16]
        fitted[max(free or range(len(fitted)), key=lambda at: fitted[at])] -= 1
    return fitted


def percent_bar(share: float, width: int = 20) -> str:
    """A share of 0..1 as a bar of blocks."""
    return "█" * round(min(max(share, 0.0), 1.0) * width)


@contextmanager
def progress_bar(label: str, *, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, moved by calling the yielded function with (stage, done, total); silent where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)

        def move(stage: str, done: int, total: int) -> None:
            bars.update(task, description=f"{label}: {stage}", completed=done, total=total)

        yield move


@contextmanager
def waiting(label: str, *, quiet: bool = False) -> Iterator[None]:
    """A spinner on stderr around something that takes seconds and cannot say how many."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield
