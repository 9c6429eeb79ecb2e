"""A file that somebody sent becomes a motion, without trusting the file, its name or its size.

- The body goes to a temporary folder as it comes and is refused as soon as it is too long; nothing of it stays there.
- It is read by :mod:`remora.web.reading`, a process with an end to its memory and time; what comes back is numbers and JSON.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import remora
from motion import SKELETONS, Caption, Clip, Source
from remora.web.errors import StudioError, without_paths

UPLOAD_FORMATS = ("bvh", "npy", "npz")


def safe_name(name: str) -> str:
    """The last part of a file's name in plain letters; StudioError 415 when its suffix is not one that is read here."""
    last = re.split(r"[\\/]", name.strip())[-1]
    stem, dot, suffix = last.rpartition(".")
    if not dot or suffix.lower() not in UPLOAD_FORMATS:
        kinds = ", ".join(UPLOAD_FORMATS)
        raise StudioError(415, "unreadable", f"{name[:80]!r} is none of {kinds}; give its name as ?name=FILE.bvh")
    plain = re.sub(r"[^\w .()+-]", "_", stem, flags=re.ASCII).strip(" .")[:80] or "motion"
    return f"{plain}.{suffix.lower()}"


def read_upload(path: Path, *, frames: int, seconds: float) -> Clip:
    """The motion in a file that was sent.

    Raises:
        StudioError: 415, with the reader's own sentence, or because reading takes too long or too much.
    """
    command = [sys.executable, "-m", "remora.web.reading", str(path), str(frames), str(math.ceil(seconds))]
    root = str(Path(remora.__file__).resolve().parents[1])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, check=False, cwd=path.parent, stdin=subprocess.DEVNULL,
            env=os.environ | threads | {"PYTHONPATH": paths},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise StudioError(
            415, "unreadable", f"{path.name}: was not read within {seconds:g} s; cut it, or index the file"
        ) from None
    line, _, data = done.stdout.partition(b"\n")
    try:
        head = json.loads(line)
    except ValueError:
        raise StudioError(
            415, "unreadable", f"{path.name}: takes more memory or time than an upload may; cut it, or index the file"
        ) from None
    if "error" in head:
        raise StudioError(415, "unreadable", without_paths(str(head["error"])))
    return _clip(head, data, path.name)


def _clip(head: dict[str, Any], data: bytes, name: str) -> Clip:
    joints = np.frombuffer(data, "<f4").reshape(head["shape"]).astype(np.float32)
    captions = tuple(Caption(c["text"], c["start_s"], c["end_s"], c["kind"]) for c in head["captions"])
    notes = {key: without_paths(str(value)) for key, value in head["notes"].items()}
    source = Source(dataset="upload", take=name, end_s=len(joints) / head["fps"], notes=notes)
    return Clip(joints, SKELETONS[head["skeleton"]], float(head["fps"]), captions, source)
