"""``remora evaluate tokenizer`` and ``generation``: how well motion comes back from tokens, and how good new motion is."""

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
)
from remora.output import progress_bar, waiting, write_json, write_line, write_table

if TYPE_CHECKING:
    from generator.evaluate import GenerationReport
    from generator.judges import Judge
    from generator.metrics import Interval
    from motion import Clip


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
    write_table(("R@1", "real", "rebuilt", "points"), recalls)


def generation(
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="Folder of labelled clips: test split and gallery.")
    ],
    split: Annotated[str, typer.Option("--split", help="Whose captions are made.")] = "test",
    gallery: Annotated[str, typer.Option("--gallery", help="The split exemplars come from.")] = "train",
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Only this source; may be repeated. Default: those it was trained on, if there.",
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
    from remora.asking import sampling_of

    test, pool = (read_clips([str(data)], name, tuple(source or ())) for name in (split, gallery))
    if not source and any(clip.source.dataset in OPTICAL for clip in pool):  # its own data, of which some was left out
        test, pool = ([c for c in clips if c.source.dataset in OPTICAL] for clips in (test, pool))
    test = drawn(test, limit)
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
