"""``remora library duplicates, leaks``: clips that are too much alike, in one library or between its splits."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from remora.cli.library import Folder
from remora.cli.options import DEFAULT_LIBRARY, At, Debug, Json, Where
from remora.cli.vectors import SpaceName
from remora.output import say, waiting, write_json, write_table

if TYPE_CHECKING:
    from db import Pair

SHOWN = 50
Above = Annotated[float, typer.Option("--above", metavar="SCORE", help="Lowest cosine of a pair, over 0 to 1.")]
Split = Annotated[str, typer.Option("--where", metavar="SQL", help="Clips that are to be learnt from.")]
Against = Annotated[str, typer.Option("--against", metavar="SQL", help="Clips that are to be tested with.")]


def duplicates(
    folder: Folder = DEFAULT_LIBRARY,
    above: Above = 0.98,
    where: Where = None,
    space: SpaceName = "motion/whole",
    at: At = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List pairs of clips that are nearly the same, the most alike first.

    All pairs are compared: 10,000 clips take a second or two, 100,000 some minutes.
    """
    from remora.engine import Engine

    with waiting("comparing", quiet=as_json):
        found = Engine(folder, at=at).snapshot.pairs(space, above, where=where)
    _write(found, as_json=as_json, what="pairs of clips", above=above)


def leaks(
    folder: Folder = DEFAULT_LIBRARY,
    above: Above = 0.98,
    where: Split = "split = 'train'",
    against: Against = "split = 'test'",
    space: SpaceName = "motion/whole",
    at: At = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List clips of one split that another split has as well, nearly the same.

    Exit status 1 when there are any.
    """
    from remora.engine import Engine

    with waiting("comparing", quiet=as_json):
        found = Engine(folder, at=at).snapshot.pairs(space, above, where=where, against=against)
    _write(found, as_json=as_json, what=f"pairs between {where} and {against}", above=above)
    if found:
        raise typer.Exit(1)


def _write(found: list[Pair], *, as_json: bool, what: str, above: float) -> None:
    if as_json:
        write_json([asdict(pair) for pair in found])
        return
    if found:
        rows = [(pair.score, pair.one, pair.other) for pair in found[:SHOWN]]
        write_table(("score", "clip", "is like"), rows, fold=("clip", "is like"))
    more = f"; the first {SHOWN} are shown, --json has all" if len(found) > SHOWN else ""
    say(f"{len(found)} {what} with a cosine of {above:g} or more{more}")
