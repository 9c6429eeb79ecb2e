"""Which suffix is read or written by what: the plug-in point for file formats.

- A reader takes a path (and ``joint_map=``) and returns clips; a writer takes a clip and a path. A new format is one
  file and one call of :func:`register_reader` or :func:`register_writer`.
- Entries are ``"module:function"`` until they are used, so that naming a format imports nothing heavy.
- Writing is all or nothing: a new file takes the place of an old one only when it is complete.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from motion.clip import Clip, with_source
from motion.errors import FileFormatError, MotionError
from motion.retarget import JointMap, load_joint_map

Reader = Callable[..., list[Clip]]  # (path, *, joint_map) -> clips
Writer = Callable[[Clip, Path], Any]

READERS: dict[str, Reader | str] = {
    ".bvh": "motion.files.bvh:read_bvh",
    ".amc": "motion.files.asf_amc:read_amc",
    ".npy": "motion.files.arrays:read_npy",
    ".npz": "motion.files.arrays:read_npz",
}
WRITERS: dict[str, Writer | str] = {
    ".bvh": "motion.files.bvh_write:write_bvh",
    ".gif": "motion.files.video:write_video",
    ".glb": "motion.files.gltf:write_glb",
    ".mp4": "motion.files.video:write_video",
    ".npy": "motion.files.arrays:write_npy",
    ".npz": "motion.files.arrays:write_npz",
    ".png": "motion.draw:strip",
}


def register_reader(suffix: str, reader: Reader | str) -> None:
    """Read files of ``suffix`` (with dot) by ``reader(path, joint_map=...) -> list[Clip]`` or ``"module:function"``."""
    READERS[_checked(suffix)] = reader


def register_writer(suffix: str, writer: Writer | str) -> None:
    """Write files of ``suffix`` (with its dot) by ``writer(clip, path)`` or ``"module:function"``."""
    WRITERS[_checked(suffix)] = writer


def _checked(suffix: str) -> str:
    if not suffix.startswith(".") or len(suffix) < 2:
        raise MotionError(f"suffix {suffix!r} must begin with a dot, as in '.bvh'; correct the registration")
    return suffix.lower()


def _load(entry: Callable[..., Any] | str) -> Callable[..., Any]:
    if not isinstance(entry, str):
        return entry
    module, _, name = entry.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), name)
    return loaded


def read(path: str | Path, *, joint_map: Path | str | JointMap | None = None) -> list[Clip]:
    """The clips of one motion file, in metres, y up, at the file's own frame rate.

    Args:
        path: a file with one of the suffixes in :data:`READERS`.
        joint_map: JSON file or mapping, SMPL-22 name -> rig name(s), for rigs whose names are unknown.

    Raises:
        FileFormatError: unknown suffix, missing, damaged or hostile file.
        SkeletonError: joints cannot be matched.
    """
    file = Path(path)
    entry = READERS.get(file.suffix.lower())
    if not file.exists():
        raise FileFormatError(f"{file}: no such file; check the path")
    if file.is_dir():
        raise FileFormatError(f"{file}: a folder, expected one motion file; index it as a source instead")
    if not file.is_file():
        raise FileFormatError(f"{file}: no regular file (a pipe or device); copy the motion to a file")
    if entry is None:
        raise FileFormatError(f"{file}: suffix {file.suffix!r} is unknown; readable are {' '.join(sorted(READERS))}")
    clips: list[Clip] = _guarded(_load(entry), file, load_joint_map(joint_map))
    return [with_source(clip, dataset=clip.source.dataset, take=clip.source.take or file.name) for clip in clips]


def _guarded(reader: Callable[..., list[Clip]], file: Path, joint_map: JointMap | None) -> list[Clip]:
    """Run a reader so that nothing but a MotionError leaves it: a file must never take the indexer down."""
    try:
        return reader(file, joint_map=joint_map)
    except MotionError as error:
        message = str(error)
        if message.isprintable():
            raise
        clean = "".join(sign if sign.isprintable() else "?" for sign in message)  # names in hostile files
        raise type(error)(clean) from error
    except OSError as error:
        raise FileFormatError(f"{file}: cannot be read ({error.strerror or error}); check path and rights") from error
    except MemoryError as error:
        raise FileFormatError(f"{file}: needs more memory than there is; cut the recording into takes") from error
    except Exception as error:
        raise FileFormatError(
            f"{file}: damaged in a way its reader does not know ({type(error).__name__}: {error}); export it again"
        ) from error


def write(clip: Clip, path: str | Path) -> None:
    """Write a clip to ``path``; the suffix decides the format.

    Raises:
        FileFormatError: unknown suffix, or the file cannot be written.
    """
    file = Path(path)
    entry = WRITERS.get(file.suffix.lower())
    if entry is None:
        raise FileFormatError(f"{file}: suffix {file.suffix!r} is unknown; writable are {' '.join(sorted(WRITERS))}")
    if file.is_dir():
        raise FileFormatError(f"{file}: is a folder; name a file to write")
    if not file.parent.is_dir():
        raise FileFormatError(f"{file}: the folder {file.parent} does not exist; create it first")
    writer = _load(entry)
    draft = file.with_name(f".{file.stem}.{secrets.token_hex(4)}{file.suffix}")
    try:
        writer(clip, draft)
        draft.replace(file)
    except OSError as error:
        raise FileFormatError(
            f"{file}: cannot be written ({error.strerror or error}); check rights and space"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
