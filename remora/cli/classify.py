"""``remora classify``: which of these labels fits this motion?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from remora.cli.options import Debug, Device, EncoderName, Json
from remora.errors import RemoraError
from remora.output import percent_bar, waiting, write_json, write_table


def classify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Motion files.")],
    labels: Annotated[str, typer.Option("--labels", help='Labels, separated by commas: "walk,run,wave".')],
    template: Annotated[
        str, typer.Option("--template", help='Sentence around each label; "{}" takes labels as they are.')
    ] = "a person {}",
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which of some labels fits a motion.

    Labels are given on the spot and need no training; prints scores (cosines) and probabilities.
    """
    from remora.engine import Engine

    names = list(dict.fromkeys(name.strip() for name in labels.split(",") if name.strip()))
    if len(names) < 2:
        raise RemoraError(f"--labels {labels!r} names fewer than two labels; separate them by commas")
    if "{}" not in template:
        raise RemoraError(f"--template {template!r} has no {{}} for the label; write e.g. 'a person {{}}'")
    engine = Engine(Path("library"), encoder=encoder or _shipped(), device=device)
    with waiting("classifying", quiet=as_json):
        results = engine.classify(files, names, template=template)
    if as_json:
        write_json(
            {"files": [{"file": str(file), **result.to_json()} for file, result in zip(files, results, strict=True)]}
        )
        return
    for file, result in zip(files, results, strict=True):
        ranked = result.to_json()["labels"]
        rows = [(row["label"], row["score"], row["probability"], percent_bar(row["probability"])) for row in ranked]
        write_table(("label", "score", "probability", ""), rows, title=str(file))


def _shipped() -> str:
    from encoders import DEFAULT_ENCODER

    return DEFAULT_ENCODER
