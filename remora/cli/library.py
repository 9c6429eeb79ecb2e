"""``remora library``: look at a library, its versions and its health."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from remora.cli.options import DEFAULT_LIBRARY, Debug, Json
from remora.output import waiting, write_json, write_line, write_table

app = typer.Typer(help="Look at a library: info, history, verify.", rich_markup_mode=None, no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="[DIR]", envvar="REMORA_LIBRARY", help="Folder of the library.")]


@app.command()
def info(folder: Folder = DEFAULT_LIBRARY, as_json: Json = False, debug: Debug = False) -> None:
    """Say what the library holds: clips, hours, sources, spaces, encoder."""
    from remora.engine import Engine

    found = Engine(folder).info()
    if as_json:
        write_json(asdict(found))
        return
    write_line(
        f"{found.path} version {found.version}: {found.clips} clips, {found.captions} captions, {found.hours:.2f} hours"
    )
    encoder = found.encoder
    write_line(
        f"encoder {encoder.get('name')}, {encoder.get('dim')} numbers a vector, {str(encoder.get('fingerprint'))[:12]}"
    )
    write_line(f"spaces {', '.join(found.spaces)}")
    write_table(("source", "clips"), list(found.sources.items()), fold=("source",))


@app.command()
def history(folder: Folder = DEFAULT_LIBRARY, as_json: Json = False, debug: Debug = False) -> None:
    """List the versions of the library, newest first."""
    from remora.engine import Engine

    versions = sorted(Engine(folder).library.versions(), key=lambda version: -version.version)
    if as_json:
        write_json([{**asdict(version), "time": str(version.time)} for version in versions])
        return
    rows = [(v.version, str(v.time), v.kind, v.added, v.deleted, v.rows, v.note) for v in versions]
    write_table(("version", "time", "kind", "added", "deleted", "clips", "note"), rows, fold=("time",))


@app.command()
def verify(folder: Folder = DEFAULT_LIBRARY, as_json: Json = False, debug: Debug = False) -> None:
    """Hold every file against its checksum.

    Exit status 1 when something is damaged.
    """
    from remora.engine import Engine

    with waiting("reading every file", quiet=as_json):
        report = Engine(folder).library.verify()
    if as_json:
        write_json({"ok": report.ok, **asdict(report)})
    else:
        state = "all well" if report.ok else "DAMAGED"
        write_line(f"{folder}: {report.checked_files} files, {report.bytes / 1e6:.1f} MB, {state}")
        for problem in report.problems:
            write_line(f"  {problem}")
    if not report.ok:
        raise typer.Exit(1)
