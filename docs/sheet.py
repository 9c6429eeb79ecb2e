"""Rows of small strips of poses side by side, each row under a heading: for the pictures of the documents."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from motion.draw import strip

if TYPE_CHECKING:
    from motion import Clip

PAPER, INK, GREY = (252, 251, 248), (34, 36, 44), (120, 118, 112)
POSES, HEIGHT, GAP, HEAD = 5, 104, 14, 34


@dataclass(frozen=True)
class Cell:
    """A clip under its title."""

    clip: Clip
    title: str


@dataclass(frozen=True)
class SheetRow:
    """A heading, a grey word behind it, and clips."""

    heading: str
    aside: str
    cells: Sequence[Cell]


def draw_sheet(rows: Sequence[SheetRow], path: Path) -> None:
    """Write the picture."""
    from PIL import Image, ImageDraw, ImageFont

    large, small = ImageFont.load_default(17), ImageFont.load_default(13)
    with tempfile.TemporaryDirectory() as folder:
        drawn = []
        for row in rows:
            pictures = []
            for number, cell in enumerate(row.cells):
                file = Path(folder) / f"{number}.png"
                strip(cell.clip, file, poses=POSES, height=HEIGHT, title=cell.title)
                with Image.open(file) as picture:
                    pictures.append(picture.convert("RGB"))
            drawn.append(pictures)
    across = max(len(pictures) for pictures in drawn)
    wide, high = drawn[0][0].size
    image = Image.new("RGB", (across * wide + (across + 1) * GAP, len(rows) * (HEAD + high + GAP)), PAPER)
    draw = ImageDraw.Draw(image)
    for number, (row, pictures) in enumerate(zip(rows, drawn, strict=True)):
        top = number * (HEAD + high + GAP)
        draw.text((GAP, top + HEAD - 8), row.heading, INK, large, anchor="ls")
        draw.text((GAP + 10 + draw.textlength(row.heading, large), top + HEAD - 8), row.aside, GREY, small, anchor="ls")
        for column, picture in enumerate(pictures):
            image.paste(picture, (GAP + column * (wide + GAP), top + HEAD))
    image.quantize(96).save(path, optimize=True)
