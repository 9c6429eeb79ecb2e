"""``remora library``: look at a library, its versions and its health."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from remora.cli.options import DEFAULT_LIBRARY, At, Debug, Json, LibraryDir
from remora.output import say, waiting, write_json, write_line, write_table


class LibraryGroup(TyperGroup):
    """Commands whose argument is the folder of a library: they take it as ``--library DIR`` too, as all others do."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that was asked for, with a folder that was given as an option as its last argument."""
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None and any(parameter.name == "folder" for parameter in command.params):
            rest = folder_last(rest)
        return name, command, rest


def folder_last(words: list[str]) -> list[str]:
    """``words`` of a command line with the value of ``--library`` or ``-l`` at their end, as an argument."""
    kept: list[str] = []
    folders: list[str] = []
    at = 0
    while at < len(words):
        name, equals, value = words[at].partition("=")
        if name in ("--library", "-l") and (equals or at + 1 < len(words)):
            folders.append(value if equals else words[at + 1])
            at += 1 if equals else 2
        else:
            kept.append(words[at])
            at += 1
    return kept + folders


app = typer.Typer(
    cls=LibraryGroup,
    help="A library as a whole: what it holds, its versions, its size, its health.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Folder = Annotated[
    Path,
    typer.Argument(metavar="[DIR]", envvar="REMORA_LIBRARY", help="Folder of the library; --library DIR does as well."),
]
Version = Annotated[str, typer.Argument(metavar="VERSION|TAG", help="A version by number or tag, see library history.")]
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


@app.command()
def info(folder: Folder = DEFAULT_LIBRARY, at: At = None, as_json: Json = False, debug: Debug = False) -> None:
    """Say what the library holds: clips, hours, sources, spaces, encoder."""
    from remora.engine import Engine

    found = Engine(folder, at=at).info()
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
    rows = [(v.version, str(v.time), v.kind, v.added, v.deleted, v.rows, " ".join(v.tags), v.note) for v in versions]
    write_table(("version", "time", "kind", "added", "deleted", "clips", "tags", "note"), rows, fold=("time", "tags"))


@app.command()
def tag(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The tag; without one all tags are listed.")
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="What it names; default: the newest version.")
    ] = None,
    library: LibraryDir = DEFAULT_LIBRARY,
    delete: Annotated[bool, typer.Option("--delete", help="Take the tag away; the version stays.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Name a version, list the names, or take one away.

    A version that has a tag is kept by vacuum, and can be given by it wherever a version is asked for.
    """
    from remora.engine import Engine

    opened = Engine(library).library
    if name is None:
        if delete:
            raise typer.BadParameter("say which tag", param_hint="NAME")
    elif delete:
        opened.untag(name)
    else:
        opened.tag(name, version)
    tags = dict(opened.tags)
    write_json(tags) if as_json else write_table(("tag", "version"), sorted(tags.items()), fold=("tag",))


@app.command()
def checkout(
    version: Version,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A folder that is new or empty.")],
    library: LibraryDir = DEFAULT_LIBRARY,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an old version a library of its own.

    Its files are linked where the disk allows, so it costs next to nothing. To only read an old version, give --at to info,
    search or export.
    """
    from remora.engine import Engine

    with waiting("linking files", quiet=as_json):
        made = Engine(Engine(library).library.checkout(version, to)).snapshot
    if as_json:
        write_json({"library": str(to), "version": made.version, "clips": len(made)})
    else:
        write_line(f"{to}: version {made.version}, {len(made)} clips")


@app.command()
def diff(
    old: Version,
    new: Annotated[
        str | None, typer.Argument(metavar="VERSION|TAG", help="Compared with it; default: the newest version.")
    ] = None,
    library: LibraryDir = DEFAULT_LIBRARY,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which clips differ between two versions: added (+), changed (~), removed (-)."""
    from remora.engine import Engine

    with waiting("comparing", quiet=as_json):
        found = Engine(library).library.diff(old, new)
    if as_json:
        write_json(asdict(found))
        return
    for sign, ids in (("+", found.added), ("~", found.changed), ("-", found.removed)):
        for clip_id in ids:
            write_line(f"{sign} {clip_id}")
    say(
        f"{found.old} to {found.new}: {len(found.added)} added, {len(found.changed)} changed, {len(found.removed)} removed"
    )


@app.command()
def restore(
    version: Version, library: LibraryDir = DEFAULT_LIBRARY, as_json: Json = False, debug: Debug = False
) -> None:
    """Go back to the clips of an old version.

    They become a new version: nothing is lost, and what came in between can be restored as well.
    """
    from remora.engine import Engine

    opened = Engine(library).library
    report = opened.restore(version)
    clips = len(opened.snapshot())
    if as_json:
        write_json({"version": report.version, "clips": clips})
    else:
        write_line(f"{library} version {report.version}: the {clips} clips of version {opened.resolve(version)}")


@app.command()
def vacuum(
    folder: Folder = DEFAULT_LIBRARY,
    keep: Annotated[int, typer.Option("--keep", min=1, metavar="N", help="The newest N versions stay.")] = 10,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Only versions older than this go: 7d, 12h, 30m, 0.")
    ] = "7d",
    grace: Annotated[
        str, typer.Option("--grace", metavar="AGE", help="Only files of no version that are older than this go.")
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run/--delete", help="Say what would go, or let it go.")] = True,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Free the space of old versions.

    Without --delete it only says what would go. Versions that have a tag or are being read stay, and files of a writer at work.
    """
    from remora.engine import Engine

    ages = {"older_than_s": _age(older_than, "--older-than"), "grace_s": _age(grace, "--grace")}
    report = Engine(folder).library.vacuum(keep=keep, dry_run=dry_run, **ages)
    if as_json:
        write_json(asdict(report))
        return
    done = "would free" if dry_run else "freed"
    write_line(f"{folder}: {done} {size(report.bytes)}: {len(report.versions)} versions, {report.files} files")
    if report.versions:
        write_line(f"  versions {', '.join(map(str, report.versions))}")
    if report.held:
        write_line(f"  kept for readers: versions {', '.join(map(str, report.held))}")
    if dry_run and report.bytes:
        say("nothing was deleted; add --delete to do it")


def _age(text: str, option: str) -> float:
    """Seconds of an age like 7d."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in UNITS else (text, "s")
    try:
        seconds = float(number) * UNITS[unit]
        if seconds >= 0:
            return seconds
    except ValueError:
        pass
    raise typer.BadParameter(f"{text!r} is no age; give a number and s, m, h, d or w, e.g. 7d", param_hint=option)


@app.command()
def compact(folder: Folder = DEFAULT_LIBRARY, as_json: Json = False, debug: Debug = False) -> None:
    """Merge small segments and leave deleted clips behind.

    Indexing does what is needed by itself; this does all that can be done. Old versions keep their files until a vacuum.
    """
    from remora.engine import Engine

    with waiting("merging segments", quiet=as_json):
        report = Engine(folder).library.compact(thorough=True)
    if as_json:
        write_json(asdict(report))
    elif not report.merged:
        write_line(f"{folder} version {report.version}: nothing to merge")
    else:
        write_line(
            f"{folder} version {report.version}: {report.merged} segments became {report.into}, {report.rows} clips, "
            f"{report.dropped_rows} deleted ones left behind, {size(report.bytes)} written"
        )


@app.command()
def stats(folder: Folder = DEFAULT_LIBRARY, as_json: Json = False, debug: Debug = False) -> None:
    """Say how much space the library takes and what could be freed."""
    from remora.engine import Engine

    found = Engine(folder).library.stats()
    if as_json:
        write_json(asdict(found))
        return
    write_line(
        f"{folder} version {found.version}: clips {found.clips}, segments {found.segments}, versions {found.versions}"
    )
    rows = [
        ("all files", size(found.disk_bytes), ""),
        ("the newest version", size(found.bytes), ""),
        (f"of it {found.dead_rows} deleted clips", size(found.dead_bytes), "remora library compact, then vacuum"),
        ("its search indexes", size(found.derived_bytes), "made anew when they are gone"),
        ("vacuum would free", size(found.vacuum_bytes), "remora library vacuum --delete"),
        ("without old versions", size(found.history_bytes), "remora library vacuum --keep 1 --older-than 0 --delete"),
    ]
    write_table(("what", "size", "freed by"), rows, fold=("freed by",))


def size(count: int) -> str:
    """Bytes for people."""
    amount, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"


@app.command()
def verify(
    folder: Folder = DEFAULT_LIBRARY,
    all_versions: Annotated[bool, typer.Option("--all", help="Every version; by default the newest.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Hold every file against its checksum.

    Exit status 1 when something is damaged; a damaged index is told and is no damage, since searches do without it.
    """
    from remora.engine import Engine

    with waiting("reading every file", quiet=as_json):
        report = Engine(folder).library.verify(all_versions=all_versions)
    if as_json:
        write_json({"ok": report.ok, **asdict(report)})
    else:
        state = "all well" if report.ok else "DAMAGED"
        write_line(f"{folder}: {report.checked_files} files, {report.bytes / 1e6:.1f} MB, {state}")
        for problem in (*report.problems, *report.derived):
            write_line(f"  {problem}")
    if not report.ok:
        say(f"see what can be done: remora library repair {folder}")
        raise typer.Exit(1)


@app.command()
def repair(
    folder: Folder = DEFAULT_LIBRARY,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the newest version of which every byte is right.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Find out what is damaged and mend it.

    Damaged indexes are dropped. A damaged version is left with --rollback only. Nothing is deleted: what is damaged is moved to
    the folder quarantine inside the library. Exit status 1 while damage is left.
    """
    from remora.engine import Engine

    with waiting("reading every file", quiet=as_json):
        report = Engine(folder).library.repair(rollback=rollback)
    if as_json:
        write_json({"needs_rollback": report.needs_rollback, **asdict(report)})
    else:
        write_line(f"{folder} version {report.version}; the newest version that is whole is {report.good}")
        for line in (*report.problems, *(f"moved to {name}" for name in report.moved)):
            write_line(f"  {line}")
        for name in report.renewed:
            write_line(f"  {name} written anew")
        for name in report.indexes:
            write_line(f"  index {name} dropped; build it anew with remora library tune")
    if report.needs_rollback:
        versions = ", ".join(map(str, report.lost))
        say(f"to leave versions {versions} and go on from {report.good}: remora library repair {folder} --rollback")
        raise typer.Exit(1)
