"""``remora classify``: which of these labels fits this motion?"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from remora.cli.options import Debug, Device, EncoderName, Json
from remora.errors import RemoraError
from remora.output import percent_bar, say, waiting, write_json, write_table


def classify(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Motion files.")],
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            help='Labels, separated by commas, synonyms by bars: "walk|stroll,run,wave"; or @FILE, one a line.',
        ),
    ],
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template", help='Sentence around each label: "a person {}"; may be repeated: they are averaged.'
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, metavar="N", help="Show the N likeliest labels.")] = 10,
    none: Annotated[bool, typer.Option("--none", help='Offer "none of these" too.')] = False,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="JSON", help="Of remora evaluate classification --save-calibration."),
    ] = None,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which of some labels fits a motion.

    Labels are given on the spot and need no training; prints scores (cosines) and probabilities.
    """
    from remora.engine import Engine

    names = read_labels(labels)
    for pattern in template or ():
        if "{}" not in pattern:
            raise RemoraError(f"--template {pattern!r} has no {{}} for the label; write e.g. 'a person {{}}'")
    engine = Engine(Path("library"), encoder=encoder or _shipped(), device=device)
    with waiting("classifying", quiet=as_json):
        results = engine.classify(files, names, template=template or None, none=none, calibration=calibration)
    if as_json:
        pairs = zip(files, results, strict=True)
        write_json({"files": [{"file": str(file), **result.to_json(top)} for file, result in pairs]})
        return
    for file, result in zip(files, results, strict=True):
        ranked = result.to_json(top)["labels"]
        rows = [(row["label"], row["score"], row["probability"], percent_bar(row["probability"])) for row in ranked]
        if result.none is not None:
            rows.append(("none of these", "", result.none, percent_bar(result.none)))
        write_table(("label", "score", "probability", ""), rows, title=str(file))
        if len(names) > top:
            say(f"{len(names) - top} further labels; --top {len(names)} shows all")
    if results and not results[0].calibrated:
        say("note: probabilities are not fitted to this encoder; see remora evaluate classification --save-calibration")


def read_labels(text: str) -> list[str]:
    """``"walk,run"`` or ``"@labels.txt"``, one a line (empty lines do not count), as labels.

    Raises:
        RemoraError: the file cannot be read as text, there is one label or none, one is empty or given twice.
    """
    if text.startswith("@"):
        file = Path(text[1:])
        try:
            pieces = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise RemoraError(f"--labels {text}: {reason}; give a text file with one label a line") from error
    else:
        pieces = [piece.strip() for piece in text.split(",")]
    shown = text[:80]
    if len(pieces) < 2:
        raise RemoraError(f"--labels {shown!r} names fewer than two labels; separate them by commas, or one a line")
    if "" in pieces:
        raise RemoraError(
            f"--labels {shown!r}: label {pieces.index('') + 1} of {len(pieces)} is empty; remove its comma"
        )
    twice = next((name for name, times in Counter(pieces).items() if times > 1), None)
    if twice is not None:
        raise RemoraError(f"--labels {shown!r} gives {twice!r} twice; give each label once")
    return pieces


def _shipped() -> str:
    from encoders import DEFAULT_ENCODER

    return DEFAULT_ENCODER
