"""A path becomes a source: which kind of folder it is, and its takes in stable order.

- Kinds are recognised by what lies in a folder, never by its name: tables of clips, HumanML3D-like folders, loose
  files.
- A folder may mix kinds and nest them; links are followed, but no folder is entered twice (a loop of links ends there).
- Files of other kinds are ignored (licences, videos, statistics); a damaged motion file is listed and fails when it is
  read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from motion.clip import Caption, Clip, with_source
from motion.errors import FileFormatError
from motion.files.captions import caption_of_name, read_captions
from motion.files.registry import READERS, read
from motion.files.takes import TakeRef, TakeSource, file_stamp
from motion.retarget import JointMap, load_joint_map

NOT_MOTIONS = frozenset(  # arrays that lie beside motions
    "mean.npy std.npy mean_std.npz shape.npz neutral_stagei.npz male_stagei.npz female_stagei.npz mean_eval.npy "
    "std_eval.npy t2m_mean.npy t2m_std.npy kit_mean.npy kit_std.npy".split()
)
FILE_KINDS = {".bvh": "bvh", ".amc": "asf/amc", ".npy": "npy", ".npz": "npz"}


@dataclass(frozen=True)
class FolderKind:
    """A layout of folders: how it is recognised, and how its takes are listed."""

    name: str
    recognise: Callable[[Path], bool]
    takes: Callable[[Path], Iterator[TakeRef]]


def _folder_kinds() -> Sequence[FolderKind]:
    from motion.files.actions import actions_takes, is_actions
    from motion.files.humanml3d import humanml3d_takes, is_humanml3d

    return (
        FolderKind("actions", is_actions, actions_takes),
        FolderKind("humanml3d", is_humanml3d, humanml3d_takes),
    )


def open_source(
    path: str | Path,
    *,
    captions: Path | str | None = None,
    split: str | None = None,
    joint_map: Path | str | JointMap | None = None,
) -> TakeSource:
    """Recognise a source and list its takes.

    Args:
        path: a motion file, or a folder of them in any layout that is known.
        captions: a caption file; every clip it names must be there.
        split: keep only takes of this split (``"train"``, ``"test"``, ...).
        joint_map: JSON file or mapping for rigs with unknown names.

    Raises:
        FileFormatError: nothing readable is there, the caption file names a missing clip, or the split is unknown.
    """
    root = Path(path)
    if not root.exists():
        raise FileFormatError(f"{root}: no such file or folder; check the path")
    mapping = load_joint_map(joint_map)
    if root.is_dir():
        takes = list(_folder_takes(root, mapping))
        dataset = root.resolve().name
    else:
        takes, dataset = [_file_take(root, root.name, root.suffix.lower(), mapping)], root.resolve().parent.name
    if not takes:
        raise FileFormatError(
            f"{root}: no motion found; looked for {' '.join(sorted(READERS))} files, clips.parquet with joints.npz, "
            "and HumanML3D, KIT-ML or 272-dim folders"
        )
    kinds = sorted({take.kind for take in takes})
    if captions is not None:
        takes = _add_captions(takes, Path(captions))
    if split is not None:
        takes = _of_split(takes, split, root)
    kind = "file" if not root.is_dir() else _kind_name(kinds)
    return TakeSource(root, kind, dataset, [replace(take, reader=partial(_named, take, dataset)) for take in takes])


def _kind_name(kinds: Sequence[str]) -> str:
    """``"bvh folder"`` for files, the layout's name for a layout, all of them for a mixture."""
    return " + ".join(f"{kind} folder" if kind in FILE_KINDS.values() else kind for kind in kinds)


def _named(take: TakeRef, dataset: str) -> list[Clip]:
    """Read a take and write its place in the source into clips whose reader knows no data set."""
    clips = take.read()
    done = []
    for clip in clips:
        if clip.source.dataset:
            done.append(clip)
        else:
            done.append(with_source(clip, dataset=dataset, take=take.take, split=clip.source.split or take.split))
    return done


def _folder_takes(root: Path, joint_map: JointMap | None) -> Iterator[TakeRef]:
    kinds = _folder_kinds()
    for folder, files in _walk(root, kinds):
        known = next((kind for kind in kinds if kind.recognise(folder)), None)
        if known is not None:
            prefix = folder.relative_to(root).as_posix()
            for take in known.takes(folder):
                yield take if prefix == "." or take.kind == "actions" else replace(take, take=f"{prefix}/{take.take}")
            continue
        for file in files:
            suffix = file.suffix.lower()
            if suffix in READERS and file.name.lower() not in NOT_MOTIONS and not file.name.startswith("."):
                yield _file_take(file, file.relative_to(root).as_posix(), suffix, joint_map)


def _walk(root: Path, kinds: Sequence[FolderKind]) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder under ``root`` once, with its files, names in order; folders of a known layout are not entered."""
    seen: set[tuple[int, int]] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            stat = folder.stat()
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise FileFormatError(f"{root}: cannot be listed ({error.strerror}); check its rights") from error
            continue
        below = [Path(entry.path) for entry in listed if _is_folder(entry) and not entry.name.startswith(".")]
        yield folder, [Path(entry.path) for entry in listed if not _is_folder(entry)]
        if not any(kind.recognise(folder) for kind in kinds):
            waiting.extend(reversed(below))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _file_take(file: Path, name: str, suffix: str, joint_map: JointMap | None) -> TakeRef:
    extra = repr(sorted(joint_map.items(), key=lambda item: item[0])) if joint_map else ""
    beside = tuple(sorted(file.parent.glob("*.asf"))) if suffix == ".amc" else ()
    return TakeRef(
        take=name, stamp=file_stamp(file, *beside[:1], extra=extra), path=file, kind=FILE_KINDS.get(suffix, suffix[1:]),
        names=(name, name[: -len(suffix)] if suffix else name), loose_names=(file.name, file.stem),
        reader=partial(read_file_take, file, joint_map),
    )  # fmt: skip


def read_file_take(file: Path, joint_map: JointMap | None) -> list[Clip]:
    """Read one loose file; words in its name become a template caption and labels where it has none of its own."""
    clips = read(file, joint_map=joint_map)
    caption, labels = caption_of_name(file.stem)
    if caption is None:
        return [with_source(clip, dataset="") for clip in clips]
    return [
        replace(with_source(clip, dataset=""), captions=clip.captions or (caption,), labels={**labels, **clip.labels})
        for clip in clips
    ]


def _add_captions(takes: Sequence[TakeRef], file: Path) -> list[TakeRef]:
    """The takes, each with the captions that ``file`` has for it.

    Raises:
        FileFormatError: ``file`` names a clip that is not there, or that could be several.
    """
    by_name = read_captions(file)
    exact = {name: at for at, take in enumerate(takes) for name in take.names}
    loose: dict[str, list[int]] = {}
    for at, take in enumerate(takes):
        for name in take.loose_names:
            loose.setdefault(name, []).append(at)
    given: dict[int, list[Caption]] = {}
    for name, sentences in by_name.items():
        places = [exact[name]] if name in exact else sorted(set(loose.get(name, [])))
        if not places:
            raise FileFormatError(
                f"{file}: names clip {name!r}, which is not in the source (it has e.g. {takes[0].take!r}); "
                "correct the name or drop the row"
            )
        if len(places) > 1 and any(takes[at].kind != "actions" for at in places):
            among = ", ".join(repr(takes[at].take) for at in places[:3])
            raise FileFormatError(f"{file}: clip {name!r} could be {among}; write its path inside the source")
        for at in places:
            given.setdefault(at, []).extend(sentences)
    return [_captioned(take, tuple(given[at])) if at in given else take for at, take in enumerate(takes)]


def _captioned(take: TakeRef, captions: tuple[Caption, ...]) -> TakeRef:
    mark = hashlib.blake2b(repr(captions).encode(), digest_size=16).hexdigest()
    return replace(take, caption_mark=mark, reader=partial(_read_captioned, take, captions))


def _read_captioned(take: TakeRef, captions: tuple[Caption, ...]) -> list[Clip]:
    """The take's clips with ``captions`` in front; a caption that only a file's name suggested gives way."""
    clips = []
    for clip in take.read():
        own = tuple(caption for caption in clip.captions if caption.kind == "human" or take.kind == "actions")
        clips.append(replace(clip, captions=captions + own))
    return clips


def _of_split(takes: Sequence[TakeRef], split: str, root: Path) -> list[TakeRef]:
    kept = [take for take in takes if take.split == split]
    if not kept:
        known: Mapping[str, None] = dict.fromkeys(take.split for take in takes if take.split)
        has = f"it has {', '.join(known)}" if known else "it has no splits"
        raise FileFormatError(f"{root}: no take is in split {split!r}; {has}")
    return kept
