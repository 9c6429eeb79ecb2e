"""What a generation leaves on disk: one folder a motion, with everything to use it, to judge it and to make it again.

- ``motion.npy`` (joints, feet cleaned), ``raw.npy`` (joints as decoded), ``features.npy`` (263), ``motion.bvh``,
  ``motion.glb``, ``motion.mp4``, ``strip.png`` (the motion above its exemplars), and ``run.json``.
- ``run.json`` is written last: a folder that has it is complete, and is not made again by the same command.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from remora.errors import RemoraError

if TYPE_CHECKING:
    from generator import Generated

FORMATS = ("npy", "bvh", "glb", "mp4", "png")
DONE = "run.json"


def folder_name(number: int, text: str, seed: int) -> str:
    """A safe name: number, the words of the sentence, the seed; a few letters and digits of ASCII on every system."""
    words = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48].strip("-") or "motion"
    return f"{number:03d}_{words}_s{seed}"


def check_formats(text: str) -> tuple[str, ...]:
    """``"bvh,glb"`` as names; RemoraError on an unknown one."""
    names = tuple(dict.fromkeys(piece.strip().lower() for piece in text.split(",") if piece.strip()))
    for name in names:
        if name not in FORMATS:
            raise RemoraError(f"--formats {name!r} is none of {', '.join(FORMATS)}")
    return names or FORMATS


def request_key(request: Mapping[str, Any]) -> str:
    """16 hex digits over everything that decides the result: equal keys, equal motion."""
    return hashlib.blake2b(json.dumps(request, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def is_done(folder: Path, key: str) -> bool:
    """Whether ``folder`` holds the complete result of the request ``key``."""
    try:
        return bool(json.loads((folder / DONE).read_text(encoding="utf-8"))["key"] == key)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write_result(
    folder: Path, made: Generated, *, run: Mapping[str, Any], formats: Sequence[str] = FORMATS
) -> list[str]:
    """Write one motion; what was not written and why (a video without the package for it).

    Raises:
        RemoraError: the folder cannot be written, with the reason (no space, no right).
    """
    from motion import FEATURES, MotionError, joints_to_features, write
    from motion.draw import strips
    from motion.physics import physics

    notes: list[str] = []
    clip = made.clip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DONE).unlink(missing_ok=True)
        if "npy" in formats:
            np.save(folder / "motion.npy", clip.joints, allow_pickle=False)
            np.save(folder / "raw.npy", made.raw, allow_pickle=False)
            spec = FEATURES["humanml3d-263" if clip.skeleton.name == "smpl22" else "kit-251"]
            if len(clip) > 1:
                np.save(folder / "features.npy", joints_to_features(clip.joints, spec), allow_pickle=False)
        for suffix in ("bvh", "glb", "mp4"):
            if suffix in formats:
                try:
                    write(clip, folder / f"motion.{suffix}")
                except MotionError as error:
                    if suffix != "mp4":
                        raise
                    notes.append(str(error))
        if "png" in formats:
            shown = [clip, *(x.clip for x in made.exemplars)]
            titles = [f"new   {made.prompt.text}"]
            titles += [f"exemplar   {x.score:.3f}   {x.caption}" for x in made.exemplars]
            strips(shown, titles, folder / "strip.png")
        before = physics(made.raw, clip.skeleton, clip.fps)
        after = physics(clip.joints, clip.skeleton, clip.fps)
        report = {**run, "physics": {"raw": vars(before), "clean": vars(after)}, "frames": len(clip), "fps": clip.fps}
        partial = folder / f"{DONE}.partial"
        partial.write_text(json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        partial.replace(folder / DONE)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "free some space and run the command again" if full else "choose another --out"
        raise RemoraError(f"{error.filename or folder}: {error.strerror}; what is finished stays, {remedy}") from error
    return notes
