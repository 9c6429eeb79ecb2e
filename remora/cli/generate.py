"""``remora generate``, ``edit`` and ``create``: new motion from sentences, exemplars and old motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remora.asking import sampling_of
from remora.candidates import DEFAULT_CANDIDATES
from remora.cli.options import (
    DEFAULT_LIBRARY,
    Debug,
    Device,
    EncoderName,
    GeneratorName,
    Json,
    LibraryDir,
    RetrievalScale,
    SamplingSteps,
    Temperature,
    TextScale,
    Where,
)  # fmt: skip
from remora.errors import RemoraError
from remora.output import progress_bar, say, write_json, write_line

if TYPE_CHECKING:
    from generator import ExemplarClip
    from remora.engine import Engine

Neighbours = Annotated[int, typer.Option("--neighbours", min=0, max=8, help="Exemplars to learn from, 0 to 8.")]
NoRetrieval = Annotated[bool, typer.Option("--no-retrieval", help="From the sentence alone; needs no library.")]
PartsFrom = Annotated[
    list[str] | None,
    typer.Option(
        "--parts-from", metavar="PARTS=TEXT",
        help='Parts after another exemplar: "left_leg,right_leg=a person kicks"; may be repeated.',
    ),
]  # fmt: skip
Schedule = Annotated[str, typer.Option("--schedule", help="How the scales grow: constant, linear or late.")]
TopK = Annotated[int, typer.Option("--top-k", min=0, help="Draw among the k likeliest tokens; 0: all.")]
TopP = Annotated[float | None, typer.Option("--top-p", help="Draw among the tokens of this share of probability.")]
Remask = Annotated[bool, typer.Option("--remask", help="Tokens kept in earlier steps may be given up again.")]
Draft = Annotated[
    float | None,
    typer.Option("--draft", min=0, max=1, help="Share of the motion begun as the exemplar that fits; 0: none."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed makes the same motion.")]
Formats = Annotated[str, typer.Option("--formats", metavar="LIST", help="Of npy,bvh,glb,mp4,png.")]
Candidates = Annotated[
    int,
    typer.Option("--candidates", min=1, max=32, help="Make so many of each and keep the one that fits the words best."),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results.")]


def generate(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help='What to make: "a person waves".')] = None,
    library: LibraryDir = DEFAULT_LIBRARY,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="A sentence a line, text#frames or text#NA.")
    ] = None,
    neighbours: Neighbours = 2,
    no_retrieval: NoRetrieval = False,
    parts_from: PartsFrom = None,
    where: Where = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=100, help="How many motions a prompt.")] = 1,
    length: Annotated[
        str | None, typer.Option("--length", metavar="SECONDS", help="6.5 or 6.5s; default: estimated.")
    ] = None,
    candidates: Candidates = DEFAULT_CANDIDATES,
    seed: Seed = None,
    text_scale: TextScale = None,
    retrieval_scale: RetrievalScale = None,
    schedule: Schedule = "constant",
    steps: SamplingSteps = None,
    temperature: Temperature = None,
    top_k: TopK = 0,
    top_p: TopP = None,
    remask: Remask = False,
    draft: Draft = None,
    out: Out = Path("generated"),
    formats: Formats = "npy,bvh,glb,mp4,png",
    generator: GeneratorName = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make new motion from a sentence and the clips of a library that fit it best.

    Each result has its own folder: joints, features, BVH, glTF, video, a strip beside its exemplars, and run.json. What is
    complete is not made again.
    """
    from generator import Prompt
    from generator.model import check
    from remora.batch import make, seed_for, want
    from remora.engine import Engine

    names = _formats(formats)
    sampling = sampling_of(
        text_scale=text_scale, retrieval_scale=retrieval_scale, schedule=schedule, steps=steps, temperature=temperature,
        top_k=top_k, top_p=top_p, remask=remask, draft=draft,
    )  # fmt: skip
    if neighbours == 0 or retrieval_scale == 0:
        no_retrieval = True
    engine = Engine(library, encoder=encoder, generator=generator, device=device)
    lines = _read_prompts(text, prompts, parse_length(length))
    parts = parse_parts_from(parts_from)
    if no_retrieval and parts:
        raise RemoraError("--parts-from needs retrieval; drop --no-retrieval or the parts")
    if no_retrieval:
        sampling = replace(sampling, guidance=replace(sampling.guidance, retrieval_scale=0.0))
    request = {
        "lines": lines, "repeat": repeat, "neighbours": 0 if no_retrieval else neighbours, "parts": list(parts.items()),
        "where": where, "candidates": candidates, "sampling": sampling, "generator": engine.generator.fingerprint,
        "library": str(library.resolve()),
    }  # fmt: skip
    for sentence, seconds in lines:
        check(Prompt(sentence, seconds))
    learn = [() if no_retrieval else _exemplars(engine, line[0], neighbours, parts, where) for line in lines]
    drawn = seed_for(request, out, seed)
    wanted = []
    for number, ((sentence, seconds), found) in enumerate(zip(lines, learn, strict=True), start=1):
        for turn in range(repeat):
            one = want(engine, sentence, seconds, drawn.seed + turn, found, sampling, out, number, candidates)
            wanted.append(one)
    report = make(engine, wanted, sampling, names, candidates=candidates, quiet=as_json)
    drawn.forget()
    _tell(report, as_json=as_json)


def create(
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What is wanted: "a person waves".')],
    library: LibraryDir = DEFAULT_LIBRARY,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", help="Cosine from which a found clip is good enough; default: calibrated."),
    ] = None,
    neighbours: Neighbours = 2,
    length: Annotated[
        str | None, typer.Option("--length", metavar="SECONDS", help="Of a new motion; default: estimated.")
    ] = None,
    candidates: Candidates = DEFAULT_CANDIDATES,
    seed: Seed = None,
    out: Out = Path("generated"),
    formats: Formats = "npy,bvh,glb,mp4,png",
    generator: GeneratorName = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Take the best clip of the library if it fits, make a new motion if none does."""
    from motion import write
    from remora.batch import make, seed_for, want
    from remora.engine import Engine
    from remora.results import folder_name

    names = _formats(formats)
    engine = Engine(library, encoder=encoder, generator=generator, device=device)
    seconds = parse_length(length)
    hits = list(engine.search(text, k=1))
    edge = engine.generator.retrieval.enough if threshold is None else threshold
    if hits and hits[0].score >= edge:
        clip = engine.clip(hits[0].clip_id)
        folder = out / folder_name(1, text, 0)
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            write(clip, folder / f"motion.{name}")
        data = {
            "found": True,
            "clip_id": hits[0].clip_id,
            "score": hits[0].score,
            "threshold": edge,
            "folder": str(folder),
        }
        if as_json:
            write_json(data)
        else:
            write_line(f"found {hits[0].clip_id} ({hits[0].score:.3f}, {edge:.3f} is enough): {folder}")
        return
    best = f"the best hit has {hits[0].score:.3f}" if hits else "the library is empty"
    say(f"{best}, {edge:.3f} would be enough: making a new motion")
    sampling = sampling_of()
    request = {"text": text, "seconds": seconds, "neighbours": neighbours, "candidates": candidates}
    found = _exemplars(engine, text, neighbours, {}, None) if hits and neighbours else ()
    drawn = seed_for(request, out, seed)
    one = want(engine, text, seconds, drawn.seed, found, sampling, out, 1, candidates)
    report = make(engine, [one], sampling, names, candidates=candidates, quiet=as_json)
    drawn.forget()
    _tell(report, as_json=as_json)


def edit(
    motion: Annotated[str, typer.Argument(metavar="FILE|CLIP_ID", help="A motion file, or a clip of the library.")],
    text: Annotated[str, typer.Option("--text", help="What the new part should show.")] = "",
    library: LibraryDir = DEFAULT_LIBRARY,
    start: Annotated[
        float | None, typer.Option("--from", metavar="SECONDS", help="Start of the range to make anew.")
    ] = None,
    end: Annotated[
        float | None, typer.Option("--until", metavar="SECONDS", help="End of the range to make anew.")
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option("--part", metavar="PART", help="Only this body part, e.g. left_arm; may be repeated."),
    ] = None,
    before: Annotated[float, typer.Option("--before", metavar="SECONDS", help="New motion in front of it.")] = 0.0,
    after: Annotated[float, typer.Option("--after", metavar="SECONDS", help="New motion behind it.")] = 0.0,
    loop: Annotated[
        float, typer.Option("--loop", metavar="SECONDS", help="New motion from its end to its start.")
    ] = 0.0,
    style_of: Annotated[
        list[str] | None,
        typer.Option("--style-of", metavar="FILE|CLIP_ID", help="An exemplar to follow; may be repeated."),
    ] = None,
    neighbours: Neighbours = 2,
    no_retrieval: NoRetrieval = False,
    text_scale: TextScale = None,
    retrieval_scale: RetrievalScale = None,
    steps: SamplingSteps = None,
    temperature: Temperature = None,
    seed: Seed = None,
    out: Out = Path("generated"),
    formats: Formats = "npy,bvh,glb,mp4,png",
    generator: GeneratorName = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a range of seconds, some body parts, or a continuation of a motion anew; all else stays."""
    from generator import Edit, ExemplarClip
    from generator.editing import check_parts
    from remora.batch import run_of, seed_for
    from remora.engine import Engine
    from remora.results import folder_name, write_result

    names = _formats(formats)
    check_parts(part or ())
    sampling = sampling_of(text_scale=text_scale, retrieval_scale=retrieval_scale, steps=steps, temperature=temperature)
    engine = Engine(library, encoder=encoder, generator=generator, device=device)
    clip = _clip(engine, motion)
    found: tuple[ExemplarClip, ...] = ()
    if style_of:
        for name in style_of:
            other = _clip(engine, name)
            caption = other.captions[0].text if other.captions else ""
            found += (ExemplarClip(other, 1.0, caption),)
    elif text and not no_retrieval and neighbours and engine.exists():
        found = engine.exemplars(text, k=neighbours)
    drawn = seed_for({"edit": motion, "text": text}, out, seed)
    what = Edit(start_s=start, end_s=end, parts=tuple(part or ()), before_s=before, after_s=after, loop_s=loop)
    with progress_bar("edit", quiet=as_json) as move:
        done = engine.edit(
            clip, what, text=text, seed=drawn.seed, exemplars=found, sampling=sampling,
            progress=lambda stage, at, total: move(stage, at, total),
        )  # fmt: skip
    folder = out / folder_name(1, text or Path(motion).stem, drawn.seed)
    run = run_of(engine, done.result.prompt, sampling) | {
        "edited": {"motion": motion, "start_s": done.start_s, "end_s": done.end_s, "parts": done.parts}
    }
    for note in write_result(folder, done.result, run=run, formats=names):
        say(f"note: {note}")
    drawn.forget()
    if as_json:
        write_json({"folder": str(folder), **run["edited"], "seed": drawn.seed})
    else:
        write_line(f"{folder}: {', '.join(done.parts)} made anew from {done.start_s:.2f} to {done.end_s:.2f} s")


# ---- pieces --------------------------------------------------------------------------------------------------------


def _formats(text: str) -> tuple[str, ...]:
    from remora.results import check_formats

    return check_formats(text)


def parse_length(text: str | None) -> float | None:
    """``"6.5"``, ``"6.5s"`` or ``"130f"`` (frames at 20 per second) as seconds; RemoraError otherwise."""
    if text is None:
        return None
    number, unit = text.strip().lower().removesuffix("s"), 1.0
    if number.endswith("f"):
        number, unit = number.removesuffix("f"), 1 / 20
    try:
        seconds = float(number) * unit
    except ValueError:
        raise RemoraError(f"--length {text!r} is no length; write 6.5s, or 130f for frames") from None
    if not 0 < seconds < float("inf"):
        raise RemoraError(f"--length {text!r}: give more than 0 seconds")
    return seconds


def parse_parts_from(pairs: Sequence[str] | None) -> dict[tuple[str, ...], str]:
    """``"left_leg,right_leg=a person kicks"`` as parts and sentence; RemoraError names the piece that is none."""
    from generator.editing import check_parts

    found: dict[tuple[str, ...], str] = {}
    for pair in pairs or ():
        parts, equals, text = pair.partition("=")
        if not equals or not text.strip() or not parts.strip():
            raise RemoraError(f'--parts-from {pair!r} is no PARTS=TEXT; write "left_leg,right_leg=a person kicks"')
        found[check_parts([part.strip() for part in parts.split(",") if part.strip()])] = text.strip()
    return found


def _read_prompts(text: str | None, file: Path | None, seconds: float | None) -> list[tuple[str, float | None]]:
    from generator import parse_prompts
    from generator.model import LONGEST_S, SHORTEST_S
    from remora.asking import clean_text

    if (text is None) == (file is None):
        raise RemoraError("give either a sentence or --prompts FILE")
    if text is not None:
        return [(clean_text(text), seconds)]
    assert file is not None
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RemoraError(f"{file}: cannot be read as text ({error}); give a UTF-8 file of prompts") from error
    lines = parse_prompts(content, shortest_s=SHORTEST_S, longest_s=LONGEST_S, warn=lambda t: say(f"note: {file}: {t}"))
    return [(clean_text(line.text), line.seconds if line.seconds is not None else seconds) for line in lines]


def _exemplars(
    engine: Engine, text: str, neighbours: int, parts: Mapping[tuple[str, ...], str], where: str | None
) -> tuple[ExemplarClip, ...]:
    if not engine.exists():
        raise RemoraError(f"{engine.path} is no library to learn from; name one with --library, or use --no-retrieval")
    found = engine.exemplars(text, k=neighbours, where=where)
    for names, sentence in parts.items():
        found = (*found, *engine.exemplars(sentence, k=1, parts=names, where=where))
    return found


def _tell(report: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        write_json(dict(report))
        return
    for data in report["made"]:
        best = f", best of {len(data['candidates'])}" if "candidates" in data else ""
        write_line(
            f"{data['folder']}: {data['seconds']:.2f} s, {data['exemplars']} exemplars, seed {data['seed']}{best}"
        )


def _clip(engine: Engine, name: str) -> Any:
    from db import RequestError
    from remora.asking import read_clip

    if Path(name).exists():
        return read_clip(Path(name))
    if engine.exists():
        try:
            return engine.clip(name)
        except RequestError as error:
            raise RemoraError(f"{name}: no such file, and no such clip ({error})") from None
    raise RemoraError(
        f"{name}: no such file, and {engine.path} is no library to look it up in; check the path or --library"
    )
