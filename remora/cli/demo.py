"""``remora demo``: see it work in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remora.cli.options import Debug, Device, EncoderName, Json
from remora.output import percent_bar, progress_bar, write_json, write_line, write_table

if TYPE_CHECKING:
    from remora.demo import DemoReport

LABELS_SHOWN = 5


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write.")] = Path("remora-demo"),
    clips: Annotated[int, typer.Option("--clips", min=20, max=5000, help="How many motions to invent.")] = 300,
    encoder: EncoderName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Invent motions, index them, ask for them.

    Asks by words, by motion and by body part, names a motion without training, draws the hits. Under a minute.
    """
    from remora.demo import run_demo
    from remora.engine import Engine

    engine = Engine(folder / "library", encoder=encoder, device=device)
    with progress_bar("demo", quiet=as_json) as move:
        report = run_demo(folder, clips=clips, engine=engine, progress=move)
    write_json(_json(report)) if as_json else _write(report)


def _json(report: DemoReport) -> dict[str, Any]:
    return {
        "library": str(report.library), "indexed": report.indexed.to_json(), "by_text": report.by_text.to_json(),
        "by_motion": report.by_motion.to_json(), "by_part": report.by_part.to_json(), "named": report.named.to_json(),
        "files": [str(path) for path in report.files],
    }  # fmt: skip


def _write(report: DemoReport) -> None:
    from remora.cli.search import write_hits
    from remora.demo import PART, TEMPLATE, TEXT

    said = report.question.captions[0].text if report.question.captions else "a motion"
    done = report.indexed
    write_line(f"{done.library}: {done.added} clips added, {done.unchanged} unchanged, version {done.version}\n")
    write_hits(report.by_text, title=f'by words: "{TEXT}"')
    write_hits(report.by_motion, title=f"by motion: question.bvh ({said})")
    write_hits(report.by_part, title=f"by its {PART.replace('_', ' ')} only")
    named = report.named.to_json()["labels"][:LABELS_SHOWN]
    rows = [(TEMPLATE.format(row["label"]), row["probability"], percent_bar(row["probability"])) for row in named]
    write_table(("question.bvh is", "probability", ""), rows)
    for path in report.files:
        write_line(f"wrote {path}")
    first = next(iter(report.by_text))
    write_line(
        f"\nSee it move, in the browser:\n  remora studio --library {report.library}\n"
        "Now yours:\n"
        f'  remora search "someone walks in a circle" --library {report.library}\n'
        f"  remora search --clip '{first.clip_id}' --part left_arm --library {report.library}\n"
        f"  remora export '{first.clip_id}' --library {report.library} --to clip.mp4\n"
        "  remora index FOLDER-OF-YOUR-MOTIONS --library my-library"
    )
