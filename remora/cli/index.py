"""``remora index``: folders of motion into a library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remora.cli.options import DEFAULT_LIBRARY, Debug, Device, EncoderName, JointMap, Json, LibraryDir
from remora.output import progress_bar, say, write_json, write_line

if TYPE_CHECKING:
    from indexer import IndexReport

REJECTIONS_SHOWN = 20


def index(
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE", help="Motion files, or folders of them.")],
    library: LibraryDir = DEFAULT_LIBRARY,
    captions: Annotated[
        Path | None, typer.Option("--captions", metavar="FILE", help="Captions: csv, tsv, json, jsonl or parquet.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Only takes of this split: train, val, test, ...")
    ] = None,
    joint_map: JointMap = None,
    prune: Annotated[bool, typer.Option("--prune", help="Delete clips whose file is gone.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the source in clip ids; default: its folder.")
    ] = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Index motion files: read, cut, embed, commit.

    Run it again after files changed: only what changed is touched, captions that were given stay. Interrupted, it goes on
    where it was.
    """
    from remora.engine import Engine

    engine = Engine(library, encoder=encoder, device=device)
    with progress_bar("index", quiet=as_json) as move:
        report = engine.index(
            *sources, captions=captions, split=split, joint_map=joint_map, prune=prune, name=name, progress=move
        )
    if as_json:
        write_json(report.to_json())
    else:
        _write(report, library)


def _write(report: IndexReport, library: Path) -> None:
    for source in report.sources:
        say(f"{source['path']}: {source['kind']}, {source['takes']} takes, named {source['name']}")
    write_line(
        f"{library} version {report.version}: {report.added} clips added, {report.replaced} replaced, "
        f"{report.unchanged} unchanged, {report.removed} removed"
    )
    if report.missing:
        what = "pruned" if report.removed else "still in the library; --prune drops them"
        say(f"{len(report.missing)} takes are gone from their source ({what}), e.g. {report.missing[0]}")
    if report.uncaptioned:
        say(
            f"{len(report.uncaptioned)} takes changed and lost the captions of an earlier --captions file, "
            f"e.g. {report.uncaptioned[0]}; give that file again"
        )
    if report.rejected:
        write_line(f"{len(report.rejected)} rejected:")
        for rejected in report.rejected[:REJECTIONS_SHOWN]:
            write_line(f"  {rejected}")
        if len(report.rejected) > REJECTIONS_SHOWN:
            write_line(f"  ... and {len(report.rejected) - REJECTIONS_SHOWN} more; --json lists all")
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.seconds.items())
    say(f"time: {stages}")
