"""``remora evaluate``: how good an encoder is, on whose data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remora.cli.options import Debug, Device, EncoderName, Json
from remora.output import progress_bar, write_json, write_line, write_table

if TYPE_CHECKING:
    from retriever import Evaluation, Row

CONTROL = "whole-body"  # shipped encoders of this name are the baseline

app = typer.Typer(help="Measure an encoder.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Measure an encoder."""


@app.command()
def retrieval(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of labelled clips.")],
    split: Annotated[str, typer.Option("--split", help="Any value of the split column.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be repeated.")
    ] = None,
    encoder: EncoderName = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME|DIR", help="Encoder to compare with; default: the shipped control."),
    ] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Measure the encoder alone.")] = False,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure retrieval and zero-shot classification on labelled clips.

    Every row has its number of queries, a 95 % bootstrap interval, chance, and the whole-body baseline beside it.
    """
    from encoders import available_encoders, load_encoder
    from retriever import evaluate_retrieval

    if baseline is None:
        baseline = next((name for name in available_encoders() if name.startswith(CONTROL)), None)
    model = load_encoder(encoder, device=device)
    other = None if no_baseline or baseline is None else load_encoder(baseline, device=device)
    with progress_bar("evaluate", quiet=as_json) as move:
        found = evaluate_retrieval(data, encoder=model, split=split, baseline=other, sources=source, progress=move)
    write_json(found.to_json()) if as_json else _write(found)


def _write(found: Evaluation) -> None:
    write_line(f"{found.data}, split {found.split}: {found.clips} clips of {found.classes} classes")
    write_line(f"encoder {found.encoder}" + (f", baseline {found.baseline}" if found.baseline else ""))
    columns = ["question", "metric", "queries", "clips", "value", "95 %", "chance"]
    if found.baseline:
        columns += ["baseline", "difference", "95 %"]
    write_table(columns, [_row(row) for row in found], fold=("question",))


def _row(row: Row) -> list[str | int | float]:
    cells: list[str | int | float] = [
        row.name, row.metric, row.queries, row.gallery, row.value.value, f"{row.value.low:.3f}-{row.value.high:.3f}",
        "" if row.chance != row.chance else f"{row.chance:.3f}",
    ]  # fmt: skip
    if row.baseline is not None and row.difference is not None:
        cells += [row.baseline.value, row.difference.value, f"{row.difference.low:+.3f} {row.difference.high:+.3f}"]
    return cells
