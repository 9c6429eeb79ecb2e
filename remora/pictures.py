"""Hits, and what tuning measured, as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remora.errors import RemoraError

if TYPE_CHECKING:
    from db import TuneReport
    from db.tune import Measured
    from motion import Clip
    from remora.engine import Engine
    from retriever import Hits, Moments


def check_picture(path: Path) -> None:
    """Refuse, before anything is searched, a path that no picture can be written to.

    Raises:
        RemoraError: it does not end in .png, or its folder is not there.
    """
    if path.suffix.lower() != ".png":
        raise RemoraError(f"{path}: pictures end in .png, not in {path.suffix!r}; rename it")
    if not path.parent.is_dir() or path.is_dir():
        raise RemoraError(f"{path}: no file can be written there; check its folder")


def draw_hits(engine: Engine, hits: Hits, path: Path, *, most: int = 6) -> None:
    """Draw the first ``most`` hits as strips of poses, each under its rank, score and caption.

    Raises:
        RemoraError: there is no hit.
    """
    from motion.draw import strips

    shown = list(hits)[:most]
    if not shown:
        raise RemoraError(f"{path}: not drawn, no clip fits; ask for something else or drop --where")
    titles = [f"{hit.rank}   {hit.score:.3f}   {(hit.captions or (hit.clip_id,))[0]}" for hit in shown]
    strips([engine.clip(hit.clip_id) for hit in shown], titles, path)


PLOT = (960, 600)
MARGIN = (90, 50, 40, 70)  # left, top, right, bottom
INK, GREY, FRONT, CHOSEN = (30, 34, 42), (196, 200, 208), (38, 98, 190), (206, 62, 45)


def draw_tuning(report: TuneReport, path: Path) -> None:
    """Draw recall among ten against milliseconds (logarithmic) of everything that was measured, and the front nothing
    beats.
    """
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", PLOT, "white")
    draw, small = ImageDraw.Draw(image), ImageFont.load_default(13)
    left, top, right, bottom = MARGIN
    width, height = PLOT[0] - left - right, PLOT[1] - top - bottom
    times = [math.log10(way.p50_ms) for way in report.measured]
    first, last = math.floor(min(times) * 2) / 2, math.ceil(max(times) * 2 + 0.1) / 2
    least = math.floor(min(way.recall_10 for way in report.measured) * 10) / 10
    least = min(least, 0.9)

    def place(way: Measured) -> tuple[float, float]:
        x = (math.log10(way.p50_ms) - first) / (last - first)
        return left + x * width, top + (1 - (way.recall_10 - least) / (1 - least)) * height

    for step in range(round((1 - least) * 10) + 1):
        y = top + height * step / max(round((1 - least) * 10), 1)
        draw.line([(left, y), (left + width, y)], GREY)
        draw.text((left - 12, y), f"{1 - step / 10:.1f}", INK, small, anchor="rm")
    for half in range(round((last - first) * 2) + 1):
        power = first + half / 2
        x = left + width * (power - first) / (last - first)
        draw.line([(x, top), (x, top + height)], GREY)
        draw.text((x, top + height + 12), f"{10**power:.2g}", INK, small, anchor="mt")
    draw.text((left + width / 2, PLOT[1] - 24), "milliseconds a question, median, one thread", INK, small, anchor="mm")
    draw.text(
        (left, 22),
        f"recall among ten: {report.space}, {report.rows} clips",
        INK,
        ImageFont.load_default(17),
        anchor="lm",
    )
    front = report.pareto
    draw.line([place(way) for way in front], FRONT, 2)
    for way in report.measured:
        x, y = place(way)
        shown = CHOSEN if way is report.chosen else FRONT if way in front else GREY
        size = 6 if way is report.chosen else 4
        draw.ellipse([x - size, y - size, x + size, y + size], shown)
    for way in {id(way): way for way in (report.measured[0], report.chosen)}.values():
        x, y = place(way)
        anchor = "lb" if x < left + width / 2 else "rb"
        draw.text((x, y - 10), way.name, CHOSEN if way is report.chosen else INK, small, anchor=anchor)
    try:
        image.save(path)
    except OSError as error:
        raise RemoraError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder and its space"
        ) from error


def draw_moments(
    engine: Engine, found: Sequence[Moments], path: Path, *, motion: Clip | Path | None = None, most: int = 6
) -> None:
    """Draw the first ``most`` motions as strips of poses with the similarity curve below, the moments shaded.

    Args:
        engine: whose clips they are.
        found: answers of :meth:`Engine.localize`.
        path: a .png.
        motion: the motion that was looked through, where it was no clip of the library.
        most: rows of the picture.

    Raises:
        RemoraError: there is no moment.
    """
    from motion.draw import Timeline, timelines
    from remora.asking import read_clip

    if not found:
        raise RemoraError(f"{path}: not drawn, no clip fits; ask for something else or drop --where")
    rows = []
    for moments in found[:most]:
        clip = engine.clip(moments.clip) if motion is None else read_clip(motion)
        start = 0.0 if motion is not None else clip.source.start_s
        best = moments[0]
        title = f"{best.score:.3f}   {best.start_s:.1f}-{best.end_s:.1f} s   {moments.text}   {moments.clip}"
        spans = [(m.start_s - start, m.end_s - start) for m in moments.moments[:1]]
        rows.append(Timeline(clip, title, moments.times - start, moments.scores, spans, start))
    timelines(rows, path)
