"""``remora train``: an encoder or a generator from folders of captioned clips."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from remora.cli.options import Debug, Device, EncoderName, Json
from remora.errors import RemoraError
from remora.output import progress_bar, write_json, write_line

app = typer.Typer(help="Train a model.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Train a model."""


@app.command()
def retriever(
    data: Annotated[
        list[Path], typer.Option("--data", metavar="DIR", help="Folder of captioned clips; may be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder; an unfinished run in it is resumed.")],
    model: Annotated[
        str, typer.Option("--model", help="small, base, or whole-body (the control without parts).")
    ] = "small",
    name: Annotated[str | None, typer.Option("--name", help="Name of the encoder; default: the run folder's.")] = None,
    wordings: Annotated[
        Path | None,
        typer.Option("--wordings", metavar="DIR", help="Folder with wordings.parquet: more ways to say a class."),
    ] = None,
    text_tower: Annotated[
        str, typer.Option("--text-tower", metavar="NAME", help="minilm, or clip:FOLDER-OR-HUB-ID (frozen).")
    ] = "minilm",
    steps: Annotated[int | None, typer.Option("--steps", min=1)] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=2)] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="JSON", help='Any other field of the training configuration, and of its "model".'
        ),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a text-motion encoder: selected on the val split, curves as PNG, weights as safetensors."""
    from encoders.errors import EncoderError
    from encoders.part_momentum.config import CONFIGS, TrainConfig, checked, control
    from encoders.part_momentum.train import train_retriever

    if model not in CONFIGS:
        raise typer.BadParameter(f"{model!r} is none of {', '.join(CONFIGS)}", param_hint="--model")
    settings = TrainConfig(
        data=tuple(str(folder) for folder in data), out=str(out), name=name or out.name, model=CONFIGS[model],
        seed=seed, wordings=str(wordings or ""), device=device,
    )  # fmt: skip
    changes: dict[str, Any] = {key: value for key, value in (("steps", steps), ("batch", batch)) if value is not None}
    try:
        further = _further(config) | changes
        further["model"] = replace(settings.model, **further.get("model", {}))
        settings = checked(replace(settings, **further))
    except (TypeError, EncoderError) as error:
        raise RemoraError(f"{config}: {error}; see encoders.part_momentum.config.TrainConfig for the fields") from error
    if model == "whole-body":
        settings = control(settings)
    settings = replace(settings, model=replace(settings.model, text_tower=text_tower))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with progress_bar("train", quiet=as_json) as move:

        def show(step: int, total: int, scalars: Mapping[str, float]) -> None:
            move(", ".join(f"{key} {value:.3f}" for key, value in scalars.items()), step, total)

        report = train_retriever(settings, progress=show)
    if report.rank:
        return
    if as_json:
        write_json({k: str(v) if isinstance(v, Path) else v for k, v in vars(report).items() if k != "rank"})
    else:
        write_line(
            f"{report.weights}: best at step {report.best_step} of {report.steps}, validation {report.best_score:.3f}, "
            f"{report.parameters} parameters, {report.seconds:.0f} s"
        )


def _further(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RemoraError(f"{path}: is no JSON ({error}); write an object of fields") from error
    if not isinstance(loaded, dict):
        raise RemoraError(f'{path}: holds no JSON object; write one, as {{"lr": 0.0005}}')
    return loaded


MotionData = Annotated[
    list[Path], typer.Option("--data", metavar="DIR", help="Folder of captioned clips; may be repeated.")
]


@app.command()
def motionclip(
    data: MotionData,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Run folder, resumed if unfinished; encoder in weights/.")
    ],
    text_tower: Annotated[
        str, typer.Option("--text-tower", metavar="NAME", help="clip:FOLDER-OR-HUB-ID, or minilm; stays frozen.")
    ] = "minilm",
    name: Annotated[str | None, typer.Option("--name", help="Name of the encoder; default: the run folder's.")] = None,
    width: Annotated[int, typer.Option("--width", min=8)] = 768,
    layers: Annotated[int, typer.Option("--layers", min=1)] = 8,
    heads: Annotated[int, typer.Option("--heads", min=1)] = 12,
    steps: Annotated[int, typer.Option("--steps", min=1)] = 3000,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 64,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train a motionclip encoder from scratch: the whole body's 272 numbers to a text tower's space."""
    sizes = {"width": width, "layers": layers, "heads": heads}
    _train_motion_clip(
        data,
        out,
        sizes,
        as_json,
        text_tower=text_tower,
        name=name or out.name,
        steps=steps,
        batch=batch,
        seed=seed,
        device=device,
    )


@app.command("text-tether")
def text_tether(
    data: MotionData,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Run folder, resumed if unfinished; tower in weights/text/.")
    ],
    text_tower: Annotated[
        str, typer.Option("--text-tower", metavar="NAME", help="clip:FOLDER-OR-HUB-ID: what is tuned.")
    ],
    tether: Annotated[float, typer.Option("--tether", min=0, help="How hard the tower is held to what it was.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of both phases.")] = 3000,
    tuned_steps: Annotated[
        int, typer.Option("--tuned-steps", min=1, help="The last ones, in which text trains.")
    ] = 900,
    text_lr: Annotated[float, typer.Option("--text-lr", min=0, help="Learning rate of the text tower.")] = 1e-6,
    width: Annotated[int, typer.Option("--width", min=8)] = 768,
    layers: Annotated[int, typer.Option("--layers", min=1)] = 8,
    heads: Annotated[int, typer.Option("--heads", min=1)] = 12,
    batch: Annotated[int, typer.Option("--batch", min=2)] = 64,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tune a CLIP text tower on motion, tethered to what it was; writes an ordinary transformers folder.

    First a motion tower learns the frozen text space, then both train, the text slowly.
    """
    sizes = {"width": width, "layers": layers, "heads": heads}
    _train_motion_clip(
        data, out, sizes, as_json, text_tower=text_tower, name=out.name, steps=steps, tuned_steps=min(tuned_steps, steps),
        tether=tether, text_lr=text_lr, batch=batch, seed=seed, device=device,
    )  # fmt: skip


def _train_motion_clip(data: list[Path], out: Path, sizes: dict[str, Any], as_json: bool, **settings: Any) -> None:
    from encoders.motion_clip.model import MotionClipConfig
    from encoders.motion_clip.train import MotionClipTraining, train_motion_clip

    if sizes["width"] % sizes["heads"]:
        raise RemoraError(f"--heads {sizes['heads']} do not divide --width {sizes['width']}; choose others")
    config = MotionClipTraining(
        data=tuple(map(str, data)), out=str(out), model=MotionClipConfig(**sizes, feed_forward=4 * sizes["width"]), **settings
    )  # fmt: skip
    _train(train_motion_clip, config, as_json)


# ---- the generator: four models, in this order ------------------------------------------------------------------------

Data = Annotated[list[Path], typer.Option("--data", metavar="DIR", help="Folder of captioned clips; may be repeated.")]
Run = Annotated[Path, typer.Option("--out", metavar="DIR", help="Run folder; an unfinished run in it is resumed.")]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", metavar="NAME", help="Only this source; may be repeated. Default: optical ones."),
]
TokenizerDir = Annotated[Path, typer.Option("--tokenizer", metavar="DIR", help="Folder of a trained tokenizer.")]
Wordings = Annotated[
    Path | None,
    typer.Option("--wordings", metavar="DIR", help="Folder with wordings.parquet: more ways to say a class."),
]
Steps = Annotated[int | None, typer.Option("--steps", min=1)]
BatchSize = Annotated[int | None, typer.Option("--batch", min=2)]
Seed = Annotated[int, typer.Option("--seed")]
Size = Annotated[str, typer.Option("--model", help="small or base.")]
Settings = Annotated[
    Path | None, typer.Option("--config", metavar="JSON", help="Any other field of the training configuration.")
]


@app.command()
def tokenizer(
    data: Data,
    out: Run,
    source: Sources = None,
    model: Annotated[
        str, typer.Option("--model", help="small, base, or whole (one token for the whole body).")
    ] = "small",
    steps: Steps = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    config: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the tokenizer: motion to tokens of body parts and back; selected on the val split."""
    from generator.tokenizer import TOKENIZERS
    from generator.train import TokenizerTraining, train_tokenizer

    fields = _fields(TokenizerTraining, data, out, source, steps, batch, seed, config, device)
    fields["model"] = _size(TOKENIZERS, model, fields)
    _train(train_tokenizer, TokenizerTraining(**fields), as_json)


@app.command()
def masked(
    data: Data,
    out: Run,
    tokenizer: TokenizerDir,
    wordings: Wordings = None,
    source: Sources = None,
    model: Size = "small",
    encoder: EncoderName = None,
    steps: Steps = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    config: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the masked transformer: first-level tokens from sentences and exemplars; selected on the val split."""
    from generator.masked import MASKED
    from generator.train import MaskedTraining, train_masked

    fields = _fields(MaskedTraining, data, out, source, steps, batch, seed, config, device)
    fields |= {"tokenizer": str(tokenizer), "wordings": str(wordings or ""), "encoder": encoder or ""}
    fields["model"] = _size(MASKED, model, fields)
    _train(train_masked, MaskedTraining(**fields), as_json)


@app.command()
def residual(
    data: Data,
    out: Run,
    tokenizer: TokenizerDir,
    wordings: Wordings = None,
    source: Sources = None,
    model: Size = "small",
    encoder: EncoderName = None,
    steps: Steps = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    config: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the residual transformer: the finer levels of tokens; selected on the val split."""
    from generator.residual import RESIDUAL
    from generator.train import ResidualTraining, train_residual

    fields = _fields(ResidualTraining, data, out, source, steps, batch, seed, config, device)
    fields |= {"tokenizer": str(tokenizer), "wordings": str(wordings or ""), "encoder": encoder or ""}
    fields["model"] = _size(RESIDUAL, model, fields)
    _train(train_residual, ResidualTraining(**fields), as_json)


@app.command()
def length(
    data: Data,
    out: Run,
    tokenizer: TokenizerDir,
    wordings: Wordings = None,
    source: Sources = None,
    encoder: EncoderName = None,
    steps: Steps = None,
    batch: BatchSize = None,
    seed: Seed = 0,
    config: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train the length estimator: seconds from a sentence, and what exemplars may say about it."""
    from generator.train import LengthTraining, train_length

    fields = _fields(LengthTraining, data, out, source, steps, batch, seed, config, device)
    fields |= {"tokenizer": str(tokenizer), "wordings": str(wordings or ""), "encoder": encoder or ""}
    _train(train_length, LengthTraining(**fields), as_json)


def _fields(
    kind: type,
    data: list[Path],
    out: Path,
    source: list[str] | None,
    steps: int | None,
    batch: int | None,
    seed: int,
    config: Path | None,
    device: str,
) -> dict[str, Any]:
    from dataclasses import fields

    from generator.train import OPTICAL

    found: dict[str, Any] = {
        "data": tuple(map(str, data)), "out": str(out), "sources": tuple(source or OPTICAL), "seed": seed, "device": device,
    }  # fmt: skip
    further = _further(config)
    unknown = sorted(set(further) - {f.name for f in fields(kind)})
    if unknown:
        raise RemoraError(
            f"{config}: unknown settings {', '.join(unknown)}; see generator.train.{kind.__name__} for the fields"
        )
    return found | further | {k: v for k, v in (("steps", steps), ("batch", batch)) if v is not None}


def _size(known: Mapping[str, Any], name: str, fields: Mapping[str, Any]) -> Any:
    """The size of that name, with what "model" of --config changes in it."""
    if name not in known:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(known)}", param_hint="--model")
    try:
        return replace(known[name], **fields.get("model", {}))
    except TypeError as error:
        raise RemoraError(f'"model" of --config: {error}; see {type(known[name]).__name__} for the fields') from error


def _train(train: Callable[..., Path], settings: Any, as_json: bool) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with progress_bar("train", quiet=as_json) as move:

        def show(step: int, total: int, scalars: Mapping[str, float]) -> None:
            move(", ".join(f"{key} {value:.3f}" for key, value in scalars.items()), step, total)

        weights = train(settings, progress=show)
    if as_json:
        write_json({"weights": str(weights)})
    else:
        write_line(f"{weights}: selected on validation")
