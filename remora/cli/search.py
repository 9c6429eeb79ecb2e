"""``remora search``: a sentence, a motion or a clip in; hits out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remora.cli.options import DEFAULT_LIBRARY, At, Count, Debug, Device, EncoderName, Json, LibraryDir, Where
from remora.errors import RemoraError
from remora.output import say, waiting, write_json, write_line, write_table
from remora.pictures import check_picture, draw_hits, draw_moments

if TYPE_CHECKING:
    from remora.engine import Engine
    from retriever import CaptionHits, Hits, Moments
    from retriever.query import Mirror


def search(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help='What to look for: "a person waves".')] = None,
    library: LibraryDir = DEFAULT_LIBRARY,
    motion: Annotated[
        Path | None,
        typer.Option("--motion", metavar="FILE", help="Motions like this file's first 30 s; TEXT: but so."),
    ] = None,
    clip: Annotated[
        str | None, typer.Option("--clip", metavar="ID", help="Motions like this clip's; TEXT: but so.")
    ] = None,
    words: Annotated[
        float | None,
        typer.Option("--words", metavar="SHARE", help="Share of TEXT beside a motion or a clip, 0 to 1; default 0.6."),
    ] = None,
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
    like: Annotated[
        list[str] | None, typer.Option("--like", metavar="ID", help="More like this clip; may be repeated.")
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option("--unlike", metavar="ID", help="Less like this clip; may be repeated.")
    ] = None,
    mirror: Annotated[
        str, typer.Option("--mirror", metavar="WHICH", help="only: the mirror image; also: either side.")
    ] = "",
    score: Annotated[
        str,
        typer.Option(
            "--score",
            metavar="WAY",
            help='whole, events ("walks, then sits": each by its stretch), maxsim (any part with any), tokens (words with '
            "moments; slow), or hybrid (captions' words too).",
        ),
    ] = "whole",
    rerank: Annotated[
        int | None,
        typer.Option(
            "--rerank", metavar="N", help="How many of the best are looked at closely; default 1000, events 100."
        ),
    ] = None,
    batch: Annotated[
        Path | None, typer.Option("--batch", metavar="FILE", help="Ask every line of a text file; - reads from stdin.")
    ] = None,
    to: Annotated[
        str, typer.Option("--to", metavar="KIND", help="motion, or text: the captions that fit a motion.")
    ] = "motion",
    localize: Annotated[
        bool,
        typer.Option("--localize", help="When it happens: seconds in each hit, or inside --motion FILE or --clip ID."),
    ] = False,
    save_strip: Annotated[Path | None, typer.Option("--save-strip", metavar="PNG", help="Draw the hits.")] = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search by a sentence, a motion file, a clip, or "like this, but ...".

    TEXT beside --motion or --clip says how the answers should differ from that motion.
    Every hit comes with the score of each body part.
    """
    from remora.engine import Engine

    engine = Engine(library, encoder=encoder, device=device, at=at)
    parsed = parse_weights(weights)
    if to not in ("motion", "text"):
        raise typer.BadParameter(f"{to!r} is neither motion nor text", param_hint="--to")
    if save_strip is not None:
        check_picture(save_strip)
    shaped = part or parsed or like or unlike or mirror or words is not None or rerank is not None or score != "whole"
    if localize:
        if text is None or shaped or to == "text":
            raise RemoraError("--localize looks for the seconds of a sentence: give TEXT; --motion or --clip say where")
        with waiting("searching", quiet=as_json):
            found = engine.localize(text, motion=motion, clip_id=clip, k=count, where=where)
        write_json({"query": text, "moments": [m.to_json() for m in found]}) if as_json else _write_moments(found)
        if save_strip is not None:
            draw_moments(engine, found, save_strip, motion=motion)
            say(f"drawn: {save_strip}")
        return
    if batch is not None:
        if text is not None or motion or clip or shaped or to != "motion" or save_strip:
            raise RemoraError(
                "--batch asks sentences by the whole body; give --where, -k and --json beside it, nothing else"
            )
        _batch(engine, batch, count, where, as_json=as_json)
        return
    if to == "text":
        if text is not None or shaped or where or save_strip:
            raise RemoraError("--to text finds captions for a motion; give --motion FILE or --clip ID and nothing else")
        with waiting("searching", quiet=as_json):
            captions = engine.describe(motion=motion, clip_id=clip, k=count)
        write_json(captions.to_json()) if as_json else _write_captions(captions)
        return
    with waiting("searching", quiet=as_json):
        hits = engine.search(
            text, motion=motion, clip_id=clip, parts=part or (), weights=parsed, k=count, where=where, like=like or (),
            unlike=unlike or (), mirror=_side(mirror), score=score, words=words, rerank=rerank,
        )  # fmt: skip
    write_json(hits.to_json()) if as_json else write_hits(hits)
    if score == "whole" and text is not None and not (parsed or part or as_json) and _tells_several(text):
        say("note: several events; --score events looks at their order too")
    if save_strip is not None:
        draw_hits(engine, hits, save_strip)
        say(f"drawn: {save_strip}")


def _tells_several(text: str) -> bool:
    from encoders.text import events_of

    return len(events_of(text)) > 1


def _batch(engine: Engine, file: Path, count: int, where: str | None, *, as_json: bool) -> None:
    """Every line of a file as a question of its own."""
    try:
        content = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RemoraError(f"{file}: is not a text in UTF-8 ({error.reason}); give one sentence a line") from error
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not lines:
        raise RemoraError(f"{file}: holds no sentence; write one a line")
    with waiting("searching", quiet=as_json):
        answers = engine.search_batch(lines, k=count, where=where)
    if as_json:
        write_json([hits.to_json() for hits in answers])
        return
    for hits in answers:
        write_hits(hits, title=hits.query)


def _side(mirror: str) -> Mirror:
    """``--mirror`` as the engine takes it."""
    sides: dict[str, Mirror] = {"": "", "only": "only", "also": "also"}
    if mirror in sides:
        return sides[mirror]
    raise typer.BadParameter(f"{mirror!r} is neither only nor also", param_hint="--mirror")


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


def _write_moments(found: list[Moments]) -> None:
    rows = [(m.clip, moment.score, f"{moment.start_s:.1f}-{moment.end_s:.1f}") for m in found for moment in m.moments]
    if not rows:
        write_line("no clip fits")
        return
    ranked = [(rank, score, clip, seconds) for rank, (clip, score, seconds) in enumerate(rows, start=1)]
    write_table(("rank", "score", "clip", "seconds of the take"), ranked, fold=("clip",))


def _write_captions(captions: CaptionHits) -> None:
    rows = [(hit.rank, hit.score, hit.text, hit.clip_id) for hit in captions]
    if not rows:
        write_line("the library has no captions; index with --captions FILE")
        return
    write_table(("rank", "score", "caption", "clip"), rows, fold=("clip",))
