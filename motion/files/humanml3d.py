"""Folders of the text-motion field: HumanML3D, KIT-ML, MotionStreamer's and MotionMillion's 272-dim sets.

- A folder is one when it holds ``new_joints``, ``new_joint_vecs`` or ``motion_data`` with arrays in it. What it is
  exactly (22 or 21 joints; 263, 251 or 272 features) is read off the first array's header, not off its name.
- Joints are preferred over features where both are there: the same numbers without decoding.
- ``texts/<id>.txt`` has a caption a line, ``sentence#word/POS ...#start#end``; from = to = 0 or NaN is the whole clip.
- Split files (``train.txt``, ``val.txt``, ``test.txt``; ``all.txt`` for the rest) name ids. Ids that are listed but not
  there are one rejected take a split file, not thousands.
- An id that is another one, or digits, behind an M is the mirror image of that.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from motion.clip import Caption, Clip, with_source
from motion.errors import FileFormatError, MotionError
from motion.files.arrays import clip_of_array
from motion.files.npz import npy_shape, read_npy_array
from motion.files.takes import TakeRef, file_stamp
from motion.files.text import decode_names, read_bytes

ARRAY_FOLDERS = ("new_joints", "new_joint_vecs", "motion_data")  # in order of preference
SPLITS = ("train", "val", "test")
MAX_TEXT_BYTES = 2**24
KINDS: Mapping[tuple[int, ...], tuple[str, float]] = {
    (22, 3): ("humanml3d", 20.0), (263,): ("humanml3d", 20.0), (21, 3): ("kit-ml", 12.5), (251,): ("kit-ml", 12.5),
    (272,): ("motion-272", 30.0),
}  # fmt: skip


def is_humanml3d(folder: Path) -> bool:
    """Whether ``folder`` has arrays laid out as HumanML3D, KIT-ML or a 272-dim set."""
    return any((folder / name).is_dir() and any((folder / name).glob("*.npy")) for name in ARRAY_FOLDERS)


def _arrays(folder: Path) -> dict[str, Path]:
    """The array file of every id, ids in order."""
    found: dict[str, Path] = {}
    for name in reversed(ARRAY_FOLDERS):
        if (folder / name).is_dir():
            found.update({path.stem: path for path in (folder / name).iterdir() if path.suffix == ".npy"})
    return dict(sorted(found.items()))


def humanml3d_takes(folder: Path) -> Iterator[TakeRef]:
    """The takes of such a folder, in order of their ids, then one failing take for every split file with absent ids."""
    arrays = _arrays(folder)
    kind, fps = _kind(arrays)
    splits = _splits(folder)
    of_id = {name: split for split, ids in splits.items() if split != "all" for name in ids}
    texts = folder / "texts"
    for name, path in arrays.items():
        text = texts / f"{name}.txt"
        yield TakeRef(
            take=name, stamp=file_stamp(path, text, extra=of_id.get(name, "")), path=path, kind=kind,
            split=of_id.get(name, ""), names=(name,), loose_names=(name, path.name),
            reader=partial(_read, path, text, fps, of_id.get(name, ""), _mirror_of(name, arrays)),
        )  # fmt: skip
    for split, ids in splits.items():
        absent = [name for name in ids if name not in arrays]
        if absent:
            yield TakeRef(
                take=f"{split}.txt", stamp=file_stamp(folder / f"{split}.txt", extra=str(len(absent))), path=folder,
                kind=kind, split="" if split == "all" else split,
                reader=partial(_absent, folder / f"{split}.txt", len(absent), len(ids), absent[0]),
            )  # fmt: skip


def _absent(path: Path, count: int, total: int, first: str) -> list[Clip]:
    raise FileFormatError(
        f"{path}: lists {count} of {total} ids that have no array, the first is {first!r}; complete the data set"
    )


def _kind(arrays: Mapping[str, Path]) -> tuple[str, float]:
    """Format name and frame rate, from the first array whose header can be read."""
    for path in list(arrays.values())[:20]:
        try:
            shape = npy_shape(path)
        except MotionError:
            continue
        if shape[1:] in KINDS:
            return KINDS[shape[1:]]
    return "humanml3d", 20.0


def _splits(folder: Path) -> dict[str, list[str]]:
    """Ids by split file; looked for beside the arrays and in ``split/`` or ``splits/``."""
    splits: dict[str, list[str]] = {}
    for split in (*SPLITS, "all"):
        for path in (folder / f"{split}.txt", folder / "split" / f"{split}.txt", folder / "splits" / f"{split}.txt"):
            if path.is_file() and path.stat().st_size:
                splits[split] = decode_names(read_bytes(path, "a list of ids")).split()
                break
    return splits


def _mirror_of(name: str, ids: Container[str]) -> str:
    """The id that ``name`` is the mirror image of; empty when it is none."""
    other = name[1:]
    return other if name.startswith("M") and (other.isdigit() or other in ids) else ""


def _read(path: Path, text: Path, fps: float, split: str, mirror_of: str) -> list[Clip]:
    captions = parse_texts(decode_names(read_bytes(text, "captions", MAX_TEXT_BYTES)), text) if _holds(text) else ()
    clip = clip_of_array(read_npy_array(path), path, fps=fps, captions=captions)
    captions = tuple(_clamped(caption, clip.duration_s) for caption in clip.captions)
    notes = {**clip.source.notes, **({"mirror_of": mirror_of} if mirror_of else {})}
    clip = replace(clip, captions=captions)
    return [with_source(clip, split=split, mirrored=bool(mirror_of), notes=notes, take="")]


def _holds(text: Path) -> bool:
    return text.is_file() and text.stat().st_size > 0


def _clamped(caption: Caption, duration_s: float) -> Caption:
    """Spans that leave the clip end with it; spans that miss it altogether mean the whole of it."""
    if caption.end_s <= caption.start_s or caption.start_s >= duration_s:
        return replace(caption, start_s=0.0, end_s=0.0)
    return replace(caption, end_s=min(caption.end_s, duration_s))


def parse_texts(text: str, path: Path) -> tuple[Caption, ...]:
    """Captions of one ``texts/*.txt``: ``sentence#word/POS ...#start#end`` a line; lines without ``#`` are sentences.

    Raises:
        FileFormatError: start or end is no number.
    """
    captions = []
    for number, line in enumerate(text.split("\n"), start=1):
        parts = line.strip().split("#")
        if not parts[0].strip():
            continue
        tokens = tuple(parts[1].split()) if len(parts) > 1 else ()
        span = (_seconds(parts[2], path, number), _seconds(parts[3], path, number)) if len(parts) > 3 else (0.0, 0.0)
        captions.append(Caption(" ".join(parts[0].split()), *span, tokens=tokens))
    return tuple(captions)


def _seconds(text: str, path: Path, number: int) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise FileFormatError(
            f"{path}: line {number} has {text[:20]!r} where seconds belong; repair the line"
        ) from error
    return value if math.isfinite(value) and value > 0.0 else 0.0
