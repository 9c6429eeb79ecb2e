"""``remora evaluate``: how good an encoder, a tokenizer or a generator is, on whose data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remora.cli.options import (
    Debug,
    Device,
    EncoderName,
    GeneratorName,
    Json,
    RetrievalScale,
    SamplingSteps,
    Temperature,
    TextScale,
)  # fmt: skip
from remora.output import progress_bar, say, waiting, write_json, write_line, write_table

if TYPE_CHECKING:
    from generator.evaluate import GenerationReport
    from generator.judges import Judge
    from generator.metrics import Interval
    from motion import Clip
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
        say(f"left out: {note}")


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


@app.command()
def tokenizer(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of labelled clips.")],
    split: Annotated[str, typer.Option("--split", help="Any value of the split column.")] = "test",
    source: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Only this source; may be repeated.")
    ] = None,
    generator: GeneratorName = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure how well motion comes back from its tokens, in millimetres, by source.

    Also how codebooks are used, and how well rebuilt clips are found by text.
    """
    from encoders import load_encoder
    from generator.model import generator_folder
    from generator.reconstruction import evaluate_tokenizer
    from generator.train.data import read_clips
    from generator.weights import load_tokenizer

    # A run's weights may be measured before there is a whole generator.
    alone = generator is not None and (Path(generator) / "model.safetensors").is_file()
    model = load_tokenizer(Path(str(generator)) if alone else generator_folder(generator) / "tokenizer")
    clips = read_clips([str(data)], split, tuple(source or ()))
    with waiting(f"rebuilding {len(clips)} clips", quiet=as_json):
        found = evaluate_tokenizer(model, clips, encoder=load_encoder(encoder, device=device))
    if as_json:
        write_json(asdict(found))
        return
    columns = ("source", "clips", "MPJPE mm", "PA-MPJPE mm", "global mm", "acceleration m/s2")
    rows = [
        (name, found.clips[name], r.mpjpe_mm, r.pa_mpjpe_mm, r.global_mm, r.acceleration)
        for name, r in found.sources.items()
    ]
    write_table(columns, rows, title=f"reconstruction, split {split}")
    levels = range(len(next(iter(found.use.values()))))
    used = [
        (kind, *(f"{100 * found.use[kind][q]:.0f} % ({found.perplexity[kind][q]:.0f})" for q in levels))
        for kind in found.use
    ]
    write_table(("codes used (perplexity)", *(f"level {q}" for q in levels)), used)
    recalls = [(name, real, made, 100 * (made - real)) for name, (real, made) in found.recall.items()]
    write_table(("text to motion R@1", "real", "rebuilt", "points"), recalls)


@app.command()
def generation(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of labelled clips: test split and gallery.")
    ],
    split: Annotated[str, typer.Option("--split", help="Whose captions are made.")] = "test",
    gallery: Annotated[str, typer.Option("--gallery", help="The split exemplars come from.")] = "train",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source", metavar="NAME", help="Only this source; may be repeated. Default: those it was trained on."
        ),
    ] = None,
    generator: GeneratorName = None,
    encoder: EncoderName = None,
    evaluator: Annotated[
        str, typer.Option("--evaluator", metavar="NAME|DIR", help="Encoder that judges; not the one that retrieves.")
    ] = "whole-body-small",
    rung: Annotated[
        list[str] | None,
        typer.Option("--rung", metavar="NAME", help="Of the ladder: retrieved, none, random, shuffled; default: all."),
    ] = None,
    neighbours: Annotated[int, typer.Option("--neighbours", min=1, max=8, help="Exemplars a caption.")] = 2,
    generations: Annotated[int, typer.Option("--generations", min=1, help="Motions a caption and rung.")] = 1,
    published: Annotated[
        Path | None,
        typer.Option("--published", metavar="DIR", help="Judge with the published evaluator, whose files are in DIR."),
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", help="Whose published evaluator: humanml3d or kit.")
    ] = "humanml3d",
    events: Annotated[
        int, typer.Option("--events", min=0, help="Motions for each prompt whose meaning rules can check.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", min=64, help="Only so many test clips, drawn with seed 0.")
    ] = None,
    estimated_lengths: Annotated[
        bool, typer.Option("--estimated-lengths", help="Not the real clips' lengths but estimated ones.")
    ] = False,
    text_scale: TextScale = None,
    retrieval_scale: RetrievalScale = None,
    steps: SamplingSteps = None,
    temperature: Temperature = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep the motions, one .npz a rung.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Measure generation with the official protocol, beside real motion and the control ladder.

    20 repeats of the draws, pools of 32. The judge is our own encoder (pools of distinct captions; never to be compared with
    published figures), or with --published the evaluator of the field.
    """
    from encoders import load_encoder
    from generator import load_generator
    from generator.evaluate import LADDER, evaluate_generation
    from generator.judges import EncoderJudge, PublishedJudge
    from generator.published import PublishedEvaluator
    from generator.train.config import OPTICAL
    from generator.train.data import read_clips
    from remora.cli.generate import sampling_of

    wanted = tuple(source or OPTICAL)
    test = drawn(read_clips([str(data)], split, wanted), limit)
    pool = read_clips([str(data)], gallery, wanted)
    model = load_generator(generator, device=device)
    judge: Judge
    if published is not None:
        where = "cpu" if device == "auto" else device
        judge = PublishedJudge(PublishedEvaluator.load(published, dataset, device=where))
    else:
        judge = EncoderJudge(load_encoder(evaluator, device=device))
    sampling = sampling_of(text_scale=text_scale, retrieval_scale=retrieval_scale, steps=steps, temperature=temperature)
    with progress_bar("evaluate", quiet=as_json) as move:
        found = evaluate_generation(
            model, test=test, gallery=pool, encoder=load_encoder(encoder, device=device), judge=judge,
            rungs=tuple(rung or LADDER), neighbours=neighbours, sampling=sampling, generations=generations,
            real_lengths=not estimated_lengths, events=events, keep=keep, progress=move,
        )  # fmt: skip
    if as_json:
        write_json(report_json(found))
        return
    _write_generation(found)


def _write_generation(found: GenerationReport) -> None:
    write_line(f"judge: {found.judge}; {found.neighbours} neighbours")
    columns = ("row", "N", "top-1", "top-2", "top-3", "MM-Dist", "FID", "KID", "Diversity", "MultiModality")
    rows: list[Sequence[Any]] = [
        (r.name, r.count, *map(str, (*r.r_precision, r.mm_dist, r.fid, r.kid, r.diversity, r.multimodality or "-")))
        for r in found.rows
    ]
    write_table(columns, rows)
    names = tuple(f.name for f in fields(found.rows[0].physics))
    rows = [(r.name, *astuple(r.physics), r.nearest_mm, r.copied) for r in found.rows]
    write_table(("row", *names, "nearest train mm", "copied"), rows)
    if found.gains:
        rows = [(g.over, *map(_interval, (g.top3, g.distance)), g.fid_ratio) for g in found.gains]
        write_table(("retrieved against", "top-3", "distance to caption", "FID ratio"), rows, title="paired, 95 %")
    if found.events:
        aspects = tuple(next(iter(found.events.values())))
        rows = [(name, *(x if x is not None else "-" for x in row.values())) for name, row in found.events.items()]
        write_table(("events", *aspects), rows)


def _interval(x: Interval) -> str:
    return f"{x.value:+.3f} ({x.low:+.3f} {x.high:+.3f})"


def drawn(clips: list[Clip], limit: int | None) -> list[Clip]:
    """``limit`` of the clips, drawn with seed 0; all where it is None."""
    if limit is None or limit >= len(clips):
        return clips
    import random

    return random.Random(0).sample(clips, limit)


def report_json(found: GenerationReport) -> dict[str, Any]:
    """The report without its arrays."""
    rows = []
    for row in found.rows:
        data = {f.name: getattr(row, f.name) for f in fields(row) if f.name not in ("hits", "distances")}
        data["physics"] = asdict(row.physics)
        for key, value in data.items():
            if key == "r_precision":
                data[key] = [asdict(x) for x in value]
            elif hasattr(value, "low"):
                data[key] = asdict(value)
        rows.append(data)
    return {
        "judge": found.judge,
        "neighbours": found.neighbours,
        "real_lengths": found.real_lengths,
        "rows": rows,
        "gains": [asdict(gain) for gain in found.gains],
        "events": {name: dict(row) for name, row in found.events.items()},
    }
