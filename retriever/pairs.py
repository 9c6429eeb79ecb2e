"""Text-motion pairs: the captioned clips of a split, and the pairs that each protocol makes of them.

- A clip's captions are those that people wrote, where the split has any. The first is TMR's caption of it; one with times of
  its own stands for those seconds.
- The identity family makes items of their own of captions with times, and lets motions end after 224 frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motion import Caption, Clip, MotionError, open_source
from retriever.errors import EvaluationError

CUT_FRAMES = 224  # of the identity family, at the data's own rate
TAKES_A_REPORT = 256

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Items:
    """Pairs, one a row: sentence, motion (a row of what was embedded), whether mirrored; ``owner``: motion of each text."""

    texts: tuple[str, ...]
    motions: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: NDArray[Any]) -> Items:
        """These rows."""
        chosen = np.arange(len(self))[rows]
        texts, ids = (tuple(column[i] for i in chosen) for column in (self.texts, self.ids))
        return Items(texts, self.motions[chosen], self.mirrored[chosen], ids)


class PairedSplit:
    """The captioned clips of a split, and the pairs that each protocol makes of them."""

    def __init__(
        self, clips: Sequence[Clip], *, folder: Path | None = None, seen: frozenset[str] = frozenset()
    ) -> None:
        human = any(caption.kind == "human" for clip in clips for caption in clip.captions)
        told = [(clip, _captions(clip, human)) for clip in clips]
        told = sorted(((c, t) for c, t in told if t), key=lambda pair: _id(pair[0]))
        if len(told) < 2:
            raise EvaluationError(
                f"{len(told)} of {len(clips)} clips have a caption; protocols of pairs need two or more: "
                "add captions, or ask for --protocol classes"
            )
        self.captioned = told
        self.seen = seen
        self.motions: list[Clip] = []
        self._known: dict[tuple[int, float, float], int] = {}
        self.first = self._items(
            (i, captions[0], captions[0].start_s, captions[0].end_s) for i, captions in self._told()
        )
        self.identity = self._items(self._identity_pairs())
        self.every = self._items((i, c, 0.0, 0.0) for i, captions in self._told() for c in captions)
        self.listed = None if folder is None else listed_ids(folder, "nsim_test")

    def _told(self) -> Iterator[tuple[int, tuple[Caption, ...]]]:
        yield from ((i, captions) for i, (_, captions) in enumerate(self.captioned))

    def _identity_pairs(self) -> Iterator[tuple[int, Caption, float, float]]:
        for i, captions in self._told():
            clip = self.captioned[i][0]
            end = CUT_FRAMES / clip.fps
            whole = [c for c in captions if c.end_s <= c.start_s]
            if whole:
                yield i, whole[0], 0.0, min(end, clip.duration_s)
            for caption in captions:
                if caption.end_s > caption.start_s:
                    yield i, caption, caption.start_s, min(caption.end_s, caption.start_s + end)

    def _items(self, pairs: Iterator[tuple[int, Caption, float, float]]) -> Items:
        texts, rows, mirrored, ids = [], [], [], []
        for i, caption, start, end in pairs:
            clip = self.captioned[i][0]
            texts.append(caption.text)
            rows.append(self._motion(i, start, end))
            mirrored.append(clip.source.mirrored)
            ids.append(_id(clip))
        return Items(tuple(texts), np.array(rows, np.int64), np.array(mirrored, bool), tuple(ids))

    def _motion(self, i: int, start: float, end: float) -> int:
        """The row in ``motions`` of these seconds of clip ``i``; a whole clip is one row, however it was asked for."""
        clip = self.captioned[i][0]
        if end <= start or (start == 0.0 and end >= clip.duration_s - 0.5 / clip.fps):
            start, end = 0.0, 0.0
        if (i, start, end) not in self._known:
            self._known[i, start, end] = len(self.motions)
            self.motions.append(clip if end == 0.0 else clip.cut(start, end))
        return self._known[i, start, end]


def _captions(clip: Clip, human: bool) -> tuple[Caption, ...]:
    return tuple(c for c in clip.captions if c.text and (c.kind == "human" or not human))


def _id(clip: Clip) -> str:
    return clip.clip_id or clip.source.take


def listed_ids(folder: Path, name: str) -> frozenset[str] | None:
    """The ids in ``name``.txt beside the arrays or the split files; None where there is no such list."""
    for path in (folder / f"{name}.txt", folder / "split" / f"{name}.txt", folder / "splits" / f"{name}.txt"):
        if path.is_file():
            return frozenset(path.read_text(encoding="utf-8").split())
    return None


@dataclass(frozen=True)
class Read:
    """The clips of a split, and what could not be read."""

    clips: list[Clip]
    faults: tuple[str, ...]


def read_split(
    data: Path,
    split: str,
    sources: Sequence[str] | None,
    *,
    progress: Progress | None = None,
    keep: Callable[[Clip], Clip] = lambda clip: clip,
) -> Read:
    """The clips of one split as ``keep`` leaves them; takes known to be of another are not read.

    Raises:
        EvaluationError: there is none, with the splits and sources there are.
        MotionError: the folder itself cannot be read.
    """
    takes = list(open_source(data))
    clips: list[Clip] = []
    faults: list[str] = []
    splits, names = {take.split for take in takes} - {""}, set()
    for number, take in enumerate(takes, start=1):
        if not take.split or take.split == split:
            try:
                found = take.read()
            except MotionError as error:
                faults.append(str(error))
                continue
            splits |= {clip.source.split for clip in found}
            names |= {clip.source.dataset for clip in found}
            clips += [
                keep(c) for c in found if c.source.split == split and (not sources or c.source.dataset in sources)
            ]
        if progress is not None and number % TAKES_A_REPORT == 0:
            progress(f"read {split}", number, len(takes))
    if not clips:
        raise EvaluationError(
            f"{data} has no clip of split {split!r} in {', '.join(sources or ()) or 'any source'}; "
            f"splits: {', '.join(sorted(splits - {''})) or 'none'}; "
            f"sources of this split: {', '.join(sorted(names)) or 'none'}; "
            + (faults[0] if faults else "name one that it has, or give its clips a split (a column, or split files)")
        )
    return Read(clips, tuple(faults))


def plain(text: str) -> str:
    """Lower case, letters and digits only, one blank between words: how captions are compared with those of training."""
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())
