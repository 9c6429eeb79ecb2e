"""``remora search``: a sentence, a motion or a clip in; hits out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remora.cli.options import DEFAULT_LIBRARY, At, Count, Debug, Device, EncoderName, Json, LibraryDir, Where
from remora.errors import RemoraError
from remora.output import say, waiting, write_json, write_line, write_table
from remora.pictures import check_picture, draw_hits

if TYPE_CHECKING:
    from retriever import CaptionHits, Hits


def search(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help='What to look for: "a person waves".')] = None,
    library: LibraryDir = DEFAULT_LIBRARY,
    motion: Annotated[
        Path | None, typer.Option("--motion", metavar="FILE", help="Look for motions like this file's first 30 s.")
    ] = None,
    clip: Annotated[str | None, typer.Option("--clip", metavar="ID", help="Look for motions like this clip's.")] = None,
    part: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="PART", help="Compare only this body part, e.g. left_arm; may be repeated."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", metavar="PARTS", help='Weigh body parts: "left_arm=2,right_arm=1".')
    ] = None,
    count: Count = 10,
    where: Where = None,
    at: At = None,
    to: Annotated[
        str, typer.Option("--to", metavar="KIND", help="motion, or text: the captions that fit a motion.")
    ] = "motion",
    save_strip: Annotated[Path | None, typer.Option("--save-strip", metavar="PNG", help="Draw the hits.")] = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search by a sentence, a motion file, or a clip.

    Every hit comes with the score of each body part.
    """
    from remora.engine import Engine

    engine = Engine(library, encoder=encoder, device=device, at=at)
    parsed = parse_weights(weights)
    if to not in ("motion", "text"):
        raise typer.BadParameter(f"{to!r} is neither motion nor text", param_hint="--to")
    if save_strip is not None:
        check_picture(save_strip)
    if to == "text":
        if text is not None or part or parsed or where or save_strip:
            raise RemoraError("--to text finds captions for a motion; give --motion FILE or --clip ID and nothing else")
        with waiting("searching", quiet=as_json):
            captions = engine.describe(motion=motion, clip_id=clip, k=count)
        write_json(captions.to_json()) if as_json else _write_captions(captions)
        return
    with waiting("searching", quiet=as_json):
        hits = engine.search(text, motion=motion, clip_id=clip, parts=part or (), weights=parsed, k=count, where=where)
    write_json(hits.to_json()) if as_json else write_hits(hits)
    if save_strip is not None:
        draw_hits(engine, hits, save_strip)
        say(f"drawn: {save_strip}")


def parse_weights(text: str | None) -> dict[str, float]:
    """``"left_arm=2,right_arm=.5"`` as a mapping; RemoraError names the piece that is none."""
    weights: dict[str, float] = {}
    for piece in (text or "").split(","):
        part, equals, value = piece.partition("=")
        if not piece.strip():
            continue
        try:
            if not equals:
                raise ValueError
            weights[part.strip()] = float(value)
        except ValueError:
            raise RemoraError(
                f"--weights {piece.strip()!r} is no part=number; write e.g. left_arm=2,right_arm=1"
            ) from None
    return weights


def write_hits(hits: Hits, *, title: str = "") -> None:
    """Hits as a table for people."""
    rows = [
        (
            hit.rank,
            hit.score,
            hit.clip_id,
            f"{hit.start_s:.1f}-{hit.end_s:.1f}",
            "; ".join(hit.captions[:1]),
            hit.source,
        )
        for hit in hits
    ]
    if not rows:
        write_line("no clip fits")
        return
    write_table(("rank", "score", "clip", "seconds", "caption", "source"), rows, title=title, fold=("clip",))


def _write_captions(captions: CaptionHits) -> None:
    rows = [(hit.rank, hit.score, hit.text, hit.clip_id) for hit in captions]
    if not rows:
        write_line("the library has no captions; index with --captions FILE")
        return
    write_table(("rank", "score", "caption", "clip"), rows, fold=("clip",))
