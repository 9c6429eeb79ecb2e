"""``remora export`` and ``remora convert``: a clip of a library, or a file, into another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from remora.cli.options import DEFAULT_LIBRARY, At, Debug, JointMap, Json, LibraryDir
from remora.output import say, waiting, write_json, write_line

if TYPE_CHECKING:
    from motion import Clip

FORMATS = ".bvh .glb .npy .npz .mp4 .gif .png"


def export(
    clip_id: Annotated[str, typer.Argument(metavar="CLIP_ID", help="A clip, as search prints it.")],
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help=f"File to write: {FORMATS}.")],
    library: LibraryDir = DEFAULT_LIBRARY,
    at: At = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a clip of a library to a file.

    The suffix decides the format; the licence of the clip is printed with it.
    """
    from motion import write
    from remora.engine import Engine

    clip = Engine(library, at=at).clip(clip_id)
    with waiting(f"writing {to}", quiet=as_json):
        write(clip, to)
    _report(clip, to, as_json)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A motion file of any kind that can be indexed.")],
    to: Annotated[Path, typer.Argument(metavar="OUT", help=f"File to write: {FORMATS}.")],
    joint_map: JointMap = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Convert a motion file into another format.

    Says what was assumed about its rig, unit and axes.
    """
    from motion import write
    from remora.asking import read_clip

    clip = read_clip(source, joint_map=joint_map)
    with waiting(f"writing {to}", quiet=as_json):
        write(clip, to)
    _report(clip, to, as_json)


def _report(clip: Clip, to: Path, as_json: bool) -> None:
    data: dict[str, Any] = {
        "path": str(to), "clip_id": clip.clip_id, "frames": len(clip), "fps": clip.fps,
        "seconds": round(clip.duration_s, 3),
        "skeleton": clip.skeleton.name, "licence": clip.source.licence, "notes": dict(clip.source.notes),
    }  # fmt: skip
    if as_json:
        write_json(data)
        return
    from motion.files.arrays import assumed_fps

    write_line(f"{to}: {len(clip)} frames at {clip.fps:g} fps, {clip.duration_s:.2f} s")
    if to.suffix.lower() == ".npy" and clip.fps != (assumed := assumed_fps(clip.skeleton)):
        say(f"note: .npy has no place for the frame rate and will be read as {assumed:g} fps; write .npz to keep it")
    for key, value in clip.source.notes.items():
        write_line(f"  {key}: {value}")
    if clip.source.licence:
        write_line(f"  licence: {clip.source.licence}")
