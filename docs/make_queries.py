"""Ten questions in a user's own words and their first hits: ``python -m docs.make_queries LIBRARY`` draws ``docs/queries.png``.

LIBRARY holds ``../shared/data/actions``; only clips that no training saw are asked (``split = 'test'``), the best hits of three
takes are shown. ``--table`` prints them too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from docs.sheet import Cell, SheetRow, draw_sheet
from remora import Engine
from retriever import Hit

TARGET = Path(__file__).with_name("queries.png")
SHOWN = 3
QUESTIONS = (
    "saying bye with both arms in the air",
    "an old tired guy dragging himself along",
    "kicking a ball with the left foot",
    "bouncing a ball on the court",
    "sits down on a chair and gets back up",
    "tiptoeing so that nobody hears",
    "going up a ladder",
    "cleaning the windows",
    "right hand up like in class",
    "salsa moves",
)


def of_different_takes(hits: Iterable[Hit], count: int) -> list[Hit]:
    """The first ``count`` hits that are of different takes."""
    shown: dict[tuple[str, str], Hit] = {}
    for hit in hits:
        shown.setdefault((hit.source, hit.take), hit)
    return list(shown.values())[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", metavar="LIBRARY", type=Path)
    parser.add_argument("--where", default="split = 'test'")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=TARGET)
    chosen = parser.parse_args()
    engine = Engine(chosen.library, device="cpu")
    rows = []
    for text in QUESTIONS:
        shown = of_different_takes(engine.search(text, k=50, where=chosen.where), SHOWN)
        titles = [f"{hit.rank}   {hit.score:.2f}   {(hit.captions or (hit.take,))[0]}" for hit in shown]
        rows.append(
            SheetRow(
                f"“{text}”",
                f"among clips of {chosen.where}" if not rows else "",
                [Cell(engine.clip(hit.clip_id), title) for hit, title in zip(shown, titles, strict=True)],
            )
        )
        if chosen.table:
            print(text, *(f"  {title}   {hit.clip_id}" for hit, title in zip(shown, titles, strict=True)), sep="\n")
    draw_sheet(rows, chosen.out)
    print(f"drawn: {chosen.out}")


if __name__ == "__main__":
    main()
