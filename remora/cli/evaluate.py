"""``remora evaluate``: how good an encoder is, on whose data; tokens and generation are next door."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remora.cli import evaluate_generation
from remora.cli.options import Debug, Device, EncoderName, Json
from remora.output import progress_bar, say, write_json, write_line, write_table

if TYPE_CHECKING:
    from retriever import Evaluation, PairRow, Row

CONTROL = "whole-body"  # shipped encoders of this name are the baseline

app = typer.Typer(help="Measure an encoder or a generator.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Measure an encoder or a generator."""


@app.command()
def retrieval(
    data: Annotated[
        Path,
        typer.Option(
            "--data", metavar="DIR", help="Labelled clips, HumanML3D, KIT-ML, a 272-dim set, captioned files."
        ),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            metavar="NAMES",
            help="all, or some of: classes, diagonal, threshold, dissimilar, batches, galleries, identity, captions.",
        ),
    ] = "all",
    split: Annotated[str, typer.Option("--split", help="Any value of the split column.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be repeated.")
    ] = None,
    encoder: EncoderName = None,
    caption_encoder: Annotated[
        str,
        typer.Option(
            "--caption-encoder",
            metavar="NAME",
            help="Says which captions are alike: minilm, or sentence:FOLDER of all-mpnet-base-v2 for published figures.",
        ),
    ] = "minilm",
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="NAME|DIR", help="Encoder to compare with; default: the shipped control."),
    ] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Measure the encoder alone.")] = False,
    untrained: Annotated[
        list[str] | None,
        typer.Option(
            "--untrained", metavar="CLASS", help="Class that training left out; a row of its own. Repeatable."
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure retrieval and zero-shot classification.

    Labelled clips are asked by class, captioned ones by the field's protocols, both directions. Every row has its number of
    queries, a 95 % interval, chance or ceiling, and the whole-body baseline beside it.
    """
    from encoders import available_encoders, load_encoder
    from retriever import ALL_PROTOCOLS, evaluate_retrieval

    chosen = tuple(name.strip() for name in protocol.split(",") if name.strip())
    chosen = ALL_PROTOCOLS if "all" in chosen else chosen

    if baseline is None:
        baseline = next((name for name in available_encoders() if name.startswith(CONTROL)), None)
    model = load_encoder(encoder, device=device)
    other = None if no_baseline or baseline is None else load_encoder(baseline, device=device)
    with progress_bar("evaluate", quiet=as_json) as move:
        found = evaluate_retrieval(
            data, encoder=model, split=split, baseline=other, sources=source, chosen=chosen,
            untrained=untrained or (), caption_encoder=caption_encoder, progress=move,
        )  # fmt: skip
    write_json(found.to_json()) if as_json else _write(found)


def _write(found: Evaluation) -> None:
    write_line(f"{found.data}, split {found.split}: {found.clips} clips of {found.classes} classes")
    write_line(f"encoder {found.encoder}" + (f", baseline {found.baseline}" if found.baseline else ""))
    if found.rows:
        columns = ["question", "metric", "queries", "clips", "value", "95 %", "chance"]
        if found.baseline:
            columns += ["baseline", "difference", "95 %"]
        write_table(columns, [_row(row) for row in found], fold=("question",))
    if found.pairs:
        names = list(found.pairs[0].metrics)
        columns = ["protocol", "asks", "queries", "gallery", "ties", names[0], "95 %", *names[1:], "ceiling"]
        columns[:0] = ["encoder"] if found.baseline else []
        rows = [_pair_row(row, bool(found.baseline)) for row in found.pairs]
        write_table(columns, rows, title="text-motion pairs, %; the ceiling is that of R@1", fold=("protocol",))
        for note in dict.fromkeys(f"{row.protocol}: {row.note}" for row in found.pairs if row.note):
            write_line(note)
    for note in found.notes:
        say(f"note: {note}")


def _pair_row(row: PairRow, named: bool) -> list[str | int | float]:
    first, *others = [
        f"{value.value:.1f}" if name == "MedR" else f"{100 * value.value:.1f}" for name, value in row.metrics.items()
    ]
    span = next(iter(row.metrics.values()))
    ceiling = f"{100 * row.ceiling['R@1']:.1f}" if row.ceiling else ""
    asks = "text" if row.direction.startswith("text") else "motion"
    cells: list[str | int | float] = [row.encoder] if named else []
    cells += [
        row.protocol,
        asks,
        row.queries,
        row.gallery,
        row.ties,
        first,
        f"{100 * span.low:.1f}-{100 * span.high:.1f}",
    ]
    return [*cells, *others, ceiling]


def _row(row: Row) -> list[str | int | float]:
    cells: list[str | int | float] = [
        row.name, row.metric, row.queries, row.gallery, row.value.value, f"{row.value.low:.3f}-{row.value.high:.3f}",
        "" if row.chance != row.chance else f"{row.chance:.3f}",
    ]  # fmt: skip
    if row.baseline is not None and row.difference is not None:
        cells += [row.baseline.value, row.difference.value, f"{row.difference.low:+.3f} {row.difference.high:+.3f}"]
    return cells


@app.command()
def classification(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of labelled clips.")],
    split: Annotated[str, typer.Option("--split", help="Whose clips are classified.")] = "test",
    fit_on: Annotated[
        str, typer.Option("--fit-on", metavar="SPLIT", help="Temperature and floor are fitted on it.")
    ] = "val",
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be repeated.")
    ] = None,
    sentences: Annotated[
        bool, typer.Option("--sentences", help="Labels are class sentences, not class names.")
    ] = False,
    template: Annotated[
        list[str] | None, typer.Option("--template", help='Sentence around each label: "a person {}"; may be repeated.')
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option("--confusion", metavar="PNG", help="Draw the confusion matrix.")
    ] = None,
    save_calibration: Annotated[
        Path | None,
        typer.Option("--save-calibration", metavar="JSON", help="Keep the fit, for remora classify --calibration."),
    ] = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure zero-shot classification, and fit its probabilities.

    Top-1, top-5, the mean over classes, expected calibration error before and after fitting, and "none of these".
    """
    from encoders import load_encoder
    from remora.pictures import check_picture
    from retriever import draw_confusion, evaluate_classification
    from retriever import save_calibration as save

    if confusion is not None:
        check_picture(confusion)
    model = load_encoder(encoder, device=device)
    with progress_bar("evaluate", quiet=as_json) as move:
        found = evaluate_classification(
            data, encoder=model, split=split, fit_on=fit_on, sources=source, sentences=sentences,
            template=template or None, progress=move,
        )  # fmt: skip
    if save_calibration is not None:
        save(found.calibration, model.spec.fingerprint, save_calibration)
        say(f"kept: {save_calibration}")
    if confusion is not None:
        draw_confusion(found, confusion)
        say(f"drawn: {confusion}")
    if as_json:
        write_json(found.to_json())
        return
    write_line(
        f"{found.data}, split {found.split}: {found.clips} clips, {len(found.labels)} labels; encoder {found.encoder}"
    )
    rows = [(name, v.value, f"{v.low:.3f}-{v.high:.3f}") for name, v in found.accuracy.items()]
    rows += [("chance", found.chance, ""), ("largest class", found.largest, "")]
    write_table(("zero-shot", "value", "95 %"), rows)
    c = found.calibration
    write_table(
        ("labels", "ECE unfitted", "ECE fitted"), [(r.labels, r.before, r.after) for r in found.reliability],
        title=f"calibration: temperature {c.temperature:g}, floor {c.floor:g}, fitted on {c.fitted_on}",
    )  # fmt: skip
    write_line(
        f"none of these: said of {100 * found.none_recall:.1f} % of clips whose class is not offered, "
        f"of {100 * found.none_false:.1f} % of those whose class is"
    )


@app.command()
def localization(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of labelled clips.")],
    split: Annotated[str, typer.Option("--split", help="Whose clips are joined.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be repeated.")
    ] = None,
    compositions: Annotated[int, typer.Option("--compositions", min=2, help="Long motions, of four clips each.")] = 30,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure how well the seconds of a sentence are found in long motions joined of clips."""
    from encoders import load_encoder
    from retriever import evaluate_localization

    model = load_encoder(encoder, device=device)
    with progress_bar("evaluate", quiet=as_json) as move:
        found = evaluate_localization(
            data, encoder=model, split=split, sources=source, compositions=compositions, seed=seed, progress=move
        )
    if as_json:
        write_json(found.to_json())
        return
    write_line(
        f"{found.data}, split {found.split}: {found.compositions} compositions of {found.seconds:.1f} s, "
        f"{found.queries} queries, seed {seed}"
    )
    names = next(iter(found.rows.values()))
    rows = [(n, *(f"{v.value:.3f} ({v.low:.3f}-{v.high:.3f})" for v in row.values())) for n, row in found.rows.items()]
    write_table(("answer", *names), rows)


@app.command()
def babel(
    annotations: Annotated[Path, typer.Option("--babel", metavar="JSON", help="BABEL's val.json or train.json.")],
    amass: Annotated[Path, typer.Option("--amass", metavar="DIR", help="AMASS: a folder of data sets of .npz files.")],
    classes: Annotated[int, typer.Option("--classes", help="60 or 120.")] = 60,
    every: Annotated[bool, typer.Option("--every", help="All segments, not the first of each sequence.")] = False,
    template: Annotated[
        list[str] | None, typer.Option("--template", help="Around each label; the published protocol has none.")
    ] = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure zero-shot action recognition on BABEL-60 or BABEL-120, for whoever has BABEL and AMASS."""
    from encoders import load_encoder
    from retriever import evaluate_babel

    model = load_encoder(encoder, device=device)
    with progress_bar("evaluate", quiet=as_json) as move:
        found = evaluate_babel(
            annotations,
            amass,
            encoder=model,
            classes=classes,
            first=not every,
            template=template or None,
            progress=move,
        )
    if as_json:
        write_json(found.to_json())
        return
    write_line(
        f"BABEL-{found.classes}: {found.segments} segments, {found.absent} without motion; encoder {found.encoder}"
    )
    rows = [(name, v.value, f"{v.low:.3f}-{v.high:.3f}") for name, v in found.metrics.items()]
    rows += [("chance", 1 / found.classes, ""), ("largest class", found.largest, "")]
    write_table(("zero-shot", "value", "95 %"), rows)


app.command()(evaluate_generation.tokenizer)
app.command()(evaluate_generation.generation)
