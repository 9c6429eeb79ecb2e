"""Read one uploaded file in a process of its own, with an end to its memory and time: ``python -m remora.web.reading``.

- A file from a stranger may be a zip bomb, or make a parser spin: what happens then happens to this process, not to the studio.
- Answers on stdout: one line of JSON, then the joints as float32; an error is such a line with ``error``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

MEMORY_BYTES = 3 << 30  # of address space, most of which the numerical libraries only reserve


def main(arguments: Sequence[str]) -> int:
    """Read ``FILE MOST_FRAMES SECONDS``; 0 when a motion was written, 1 when an error was."""
    path, most, seconds = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    limit(seconds)
    from motion import MotionError, read

    try:
        clips = read(path)
    except MotionError as error:
        return say_error(str(error))
    except (MemoryError, RecursionError) as error:
        return say_error(f"{path.name}: needs more memory than an upload may take ({type(error).__name__}); cut it")
    if len(clips) != 1:
        return say_error(f"{path.name}: holds {len(clips)} motions; upload them one by one, or index the file")
    clip = clips[0]
    if len(clip) > most:
        return say_error(
            f"{path.name}: has {len(clip)} frames, at most {most} are read here; cut it, or index the file"
        )
    head = {
        "shape": clip.joints.shape, "skeleton": clip.skeleton.name, "fps": clip.fps, "notes": dict(clip.source.notes),
        "captions": [asdict(caption) for caption in clip.captions],
    }  # fmt: skip
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + clip.joints.astype("<f4").tobytes())
    return 0


def limit(seconds: int) -> None:
    """Set an end to the memory and the processor time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # not on Windows: there the parent's clock alone ends it
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def say_error(message: str) -> int:
    """One line that says why there is no motion."""
    sys.stdout.buffer.write(json.dumps({"error": message}).encode() + b"\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
