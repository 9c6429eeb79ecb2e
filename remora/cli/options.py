"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
LibraryDir = Annotated[
    Path,
    typer.Option("--library", "-l", envvar="REMORA_LIBRARY", metavar="DIR", help="Folder of the library."),
]
At = Annotated[
    str | None,
    typer.Option("--at", metavar="VERSION|TAG", help="Read an old version, by number or tag; see library history."),
]
EncoderName = Annotated[
    str | None,
    typer.Option(
        "--encoder", metavar="NAME|DIR", help="Encoder by name or folder; default: the library's, else the shipped."
    ),
]
GeneratorName = Annotated[
    str | None,
    typer.Option("--generator", metavar="NAME|DIR", help="Generator by name or folder; default: the shipped."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
JointMap = Annotated[
    Path | None,
    typer.Option(
        "--joint-map", metavar="FILE", help='JSON of joint names, {"left_wrist": "LHand", ...}, for unknown rigs.'
    ),
]
Count = Annotated[int, typer.Option("-k", "--count", min=1, max=10_000, help="How many hits.")]
Where = Annotated[
    str | None,
    typer.Option("--where", metavar="SQL", help="Only clips that fit, e.g. \"duration_s < 4 and source = 'kit'\"."),
]
TextScale = Annotated[float | None, typer.Option("--text-scale", help="Guidance by the sentence; 1: none beyond it.")]
RetrievalScale = Annotated[
    float | None, typer.Option("--retrieval-scale", help="Guidance by exemplars; 0: no retrieval.")
]
SamplingSteps = Annotated[
    int | None, typer.Option("--steps", min=1, max=200, help="Sampling steps; 4 to 18 are usual.")
]
Temperature = Annotated[float | None, typer.Option("--temperature", min=0, max=10, help="0 takes the likeliest token.")]

DEFAULT_LIBRARY = Path("library")
