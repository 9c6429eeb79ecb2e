"""``remora library tune, export, import``: how a library is searched, and vectors out of it and into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remora.cli.library import Folder
from remora.cli.options import DEFAULT_LIBRARY, At, Debug, Json, Where
from remora.errors import RemoraError
from remora.output import say, waiting, write_json, write_line, write_table

if TYPE_CHECKING:
    from db import IndexSpec, TuneReport

SpaceName = Annotated[str, typer.Option("--space", metavar="SPACE", help="Vector space, as library info lists them.")]


def tune(
    folder: Folder = DEFAULT_LIBRARY,
    space: SpaceName = "motion/whole",
    recall: Annotated[
        float, typer.Option("--recall", metavar="SHARE", help="Share of the true ten best an index must find.")
    ] = 0.99,
    within: Annotated[
        float | None, typer.Option("--within", metavar="MS", help="Take the best recall within so many ms instead.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Try only scalar, pq, ivf-pq or hnsw; may be repeated."),
    ] = None,
    questions: Annotated[int, typer.Option("--questions", min=1, max=10_000, help="How many questions to ask.")] = 200,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only; leave the library as it is.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Take the index away: search exactly from now on.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw recall against time.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure ways of searching, and keep the fastest that finds enough.

    Questions are clips of the library, moved by their own length; truth is exact search. What is chosen is written into the
    library; searches under narrow filters stay exact.
    """
    from remora.engine import Engine
    from remora.pictures import check_picture, draw_tuning
    from remora.threads import search_threads

    library = Engine(folder).library
    if plot is not None:
        check_picture(plot)
    if exact:
        version = library.use_index(space, None)
        write_json({"space": space, "version": version}) if as_json else write_line(f"{space} is searched exactly")
        return
    search_threads(1)
    specs = None
    if kind and space in library.spaces:
        specs = _specs(kind, len(library.snapshot()), library.spaces[space].dim)
    with waiting("measuring", quiet=as_json):
        report = library.tune(
            space=space, recall=recall, within_ms=within, specs=specs, questions=questions, write=not dry_run
        )
    if plot is not None:
        draw_tuning(report, plot)
        say(f"drawn: {plot}")
    write_json(report.to_json()) if as_json else _write_report(report)


def _specs(kinds: list[str], rows: int, dim: int) -> list[IndexSpec]:
    """The default settings of the kinds asked for."""
    from db import default_specs, index_kinds

    unknown = sorted(set(kinds) - set(index_kinds()))
    if unknown:
        raise RemoraError(f"--kind {unknown[0]!r} is none of {', '.join(index_kinds())}")
    found = [spec for spec in default_specs(rows, dim) if spec.KIND in kinds]
    missing = sorted(set(kinds) - {spec.KIND for spec in found})
    if missing:
        raise RemoraError(f"--kind {missing[0]} is of no use for {rows} clips; leave --kind out to see what is")
    return found


def _write_report(report: TuneReport) -> None:
    front = set(map(id, report.pareto))
    rows: list[tuple[Any, ...]] = []
    for way in report.measured:
        if id(way) in front or way is report.chosen or way.spec is None:
            mark = "chosen" if way is report.chosen else ""
            narrow = [f"{recall:.3f} {p50:.2f}" for _, recall, p50 in way.filtered]
            rows.append(
                (
                    way.name,
                    way.recall_1,
                    way.recall_10,
                    way.p50_ms,
                    way.p99_ms,
                    *narrow,
                    way.build_s,
                    way.bytes / 1e6,
                    mark,
                )
            )
    head = ("way", "recall@1", "recall@10", "p50 ms", "p99 ms", "10 % kept", "1 % kept", "build s", "MB", "")
    write_table(head, rows, title=f"{report.space}, {report.rows} clips, {report.wanted}", fold=("way",))
    if report.version is not None:
        write_line(f"version {report.version} searches {report.space} by {report.chosen.name}")


def export(
    folder: Folder = DEFAULT_LIBRARY,
    to: Annotated[
        Path, typer.Option("--to", metavar="FILE", help="File to write: .parquet, or .rrd for Rerun.")
    ] = Path("library.parquet"),
    where: Where = None,
    space: Annotated[
        list[str] | None, typer.Option("--space", metavar="SPACE", help="Only vectors of this space; may be repeated.")
    ] = None,
    atlas: Annotated[
        bool, typer.Option("--atlas", help="For Embedding Atlas: a place in the map and neighbours, no vectors.")
    ] = False,
    at: At = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write rows, captions and vectors to one Parquet file, or moving skeletons to a Rerun recording.

    DuckDB, pandas, polars and LanceDB read the Parquet file as it is.
    """
    from db import export_parquet
    from remora.engine import Engine
    from remora.showing import ATLAS_OPTIONS, write_atlas, write_rerun

    suffix = to.suffix.lower()
    if suffix not in (".parquet", ".rrd"):
        raise RemoraError(f"--to {to}: a library is exported as .parquet or .rrd; give the file that ending")
    if suffix == ".rrd" and (atlas or space):
        raise RemoraError("--atlas and --space are about vectors, which a Rerun recording has none of; leave them out")
    engine = Engine(folder, at=at)
    with waiting("writing", quiet=as_json):
        if suffix == ".rrd":
            count = write_rerun((engine.clip(name) for name in engine.snapshot.ids(where)), to)
        elif atlas:
            count = write_atlas(engine.snapshot, to, where=where, space=(space or ["motion/whole"])[0])
        else:
            count = export_parquet(engine.snapshot, to, where=where, spaces=space)
    if as_json:
        write_json({"file": str(to), "clips": count})
        return
    write_line(f"{count} clips in {to}")
    if atlas:
        say(f"see it with: embedding-atlas {to} {ATLAS_OPTIONS}")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Vectors: .parquet with a column of ids, or .npy.")],
    folder: Folder = DEFAULT_LIBRARY,
    ids: Annotated[Path | None, typer.Option("--ids", metavar="FILE", help="Ids of an .npy file, one a line.")] = None,
    id_column: Annotated[str | None, typer.Option("--id-column", metavar="NAME", help="The column of ids.")] = None,
    vector_column: Annotated[
        str | None, typer.Option("--vector-column", metavar="NAME", help="The column of vectors.")
    ] = None,
    name: Annotated[str, typer.Option("--made-by", metavar="NAME", help="What made the vectors.")] = "imported",
    normalise: Annotated[bool, typer.Option("--normalise", help="Scale vectors to length 1.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put vectors with ids into a library of their own.

    The library is made when it is not there; rows keep the columns that Remora knows, and captions. Ask it by --clip
    ID.
    """
    from dataclasses import asdict

    from db import import_vectors, open_for_vectors, read_vectors

    given = read_vectors(file, ids=ids, id_column=id_column, vector_column=vector_column, normalise=normalise)
    with waiting("writing", quiet=as_json):
        library = open_for_vectors(folder, dim=given.vectors.shape[1], made_by=name)
        report = import_vectors(library, "motion/whole", given, note=f"import {file.name}")
    if as_json:
        write_json(asdict(report))
    else:
        write_line(f"{folder} version {report.version}: {report.added} added, {report.replaced} replaced")
