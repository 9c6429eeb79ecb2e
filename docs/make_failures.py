"""What an encoder gets wrong: ``python -m docs.make_failures --data ../shared/data/actions`` draws ``docs/failures.png``.

- Of the class sentences (and, below them, of people's captions) those whose first right clip ranks worst, then those with the
  least average precision: what was asked, a clip that is right with its rank, and the first clips found instead.
- ``--card FILE`` also writes the table between the marks ``<!-- failures -->`` of a model card.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from docs.sheet import Cell, SheetRow, draw_sheet
from encoders import DualEncoder, load_encoder
from motion import Clip
from retriever import protocols
from retriever.pairs import read_split

TARGET = Path(__file__).with_name("failures.png")
MARK = "<!-- failures -->"
CLASSES, CAPTIONS, WRONG = 6, 4, 2


def failures(
    encoder: DualEncoder, clips: Sequence[Clip], motions: NDArray[np.float32], asked: Sequence[str], own: Sequence[str]
) -> list[tuple[str, int, float, int, list[int]]]:
    """Worst first: sentence, clips that are right, average precision, rank of the first, rows: that one, then wrong ones."""
    scores = encoder.encode_text(list(asked)).whole @ motions.T
    right = np.array([[name == text for name in own] for text in asked])
    precision = protocols.average_precision(scores, right)
    found = []
    for row, text in enumerate(asked):
        order = np.argsort(-scores[row], kind="stable")
        hit = right[row, order]
        first = int(hit.argmax())
        wrong: dict[str, int] = {}  # one clip of each wrong answer
        for at in order[~hit]:
            wrong.setdefault(own[at], int(at))
        rows = [int(order[first]), *list(wrong.values())[:WRONG]]
        found.append((text, int(hit.sum()), float(precision[row]), first + 1, rows))
    return sorted(found, key=lambda f: (-f[3], f[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--encoder")
    parser.add_argument("--card", type=Path)
    parser.add_argument("--out", type=Path, default=TARGET)
    chosen = parser.parse_args()
    encoder = load_encoder(chosen.encoder, device="cpu")
    clips = read_split(chosen.data, chosen.split, None).clips
    motions = np.concatenate([encoder.encode_motion(clips[i : i + 256]).whole for i in range(0, len(clips), 256)])
    classes = [c.labels.get("class_text", "") for c in clips]
    human = [next((cap.text for cap in c.captions if cap.kind == "human"), "") for c in clips]
    told = np.array([row for row, text in enumerate(human) if text], int)
    kinds = (
        ("class", clips, motions, classes, CLASSES),
        ("caption", [clips[i] for i in told], motions[told], [human[i] for i in told], CAPTIONS),
    )
    rows = []
    columns = "| asked as | sentence | right clips | average precision | rank | found instead |"
    table = [columns, "| --- | --- | ---: | ---: | ---: | --- |"]
    for kind, among, vectors, own, most in kinds:
        if not among:
            continue
        for text, count, precision, rank, shown in failures(encoder, among, vectors, sorted({*own} - {""}), own)[:most]:
            aside = f"{kind}, {count} of {len(among):,} clips, average precision {precision:.2f}"
            titles = [f"right, rank {rank}   {own[shown[0]]}", *(f"found   {own[i]}" for i in shown[1:])]
            cells = [Cell(among[i], title) for i, title in zip(shown, titles, strict=True)]
            rows.append(SheetRow(f"“{text}”", aside, cells))
            instead = "; ".join(own[i] for i in shown[1:])
            table.append(f"| {kind} | {text} | {count} | {precision:.2f} | {rank} | {instead} |")
    draw_sheet(rows, chosen.out)
    print(*table, sep="\n")
    if chosen.card is not None:
        before, _, rest = chosen.card.read_text(encoding="utf-8").partition(f"{MARK}\n")
        after = rest.partition("<!-- /failures -->")[2]
        written = "\n".join([*table, "<!-- /failures -->"])
        chosen.card.write_text(f"{before}{MARK}\n{written}{after}", encoding="utf-8")
    print(f"drawn: {chosen.out}")


if __name__ == "__main__":
    main()
