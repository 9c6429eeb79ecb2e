"""The captioned clips that training reads from folders of one split.

- Published sets have a take of NaN, ids without arrays, texts that are empty: what cannot be read or has no caption is left
  out, and how many with the reason of the first is said. Nothing left is an error.
- A caption with times of its own tells those seconds, not the take: they become a clip of their own, as in the field's loaders,
  and the take keeps its other captions.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from encoders.errors import EncoderError
from motion import Clip, MotionError, open_source

log = logging.getLogger(__name__)

SHORTEST_S = 0.5  # of what a caption with times tells
ROUNDING_S = 0.1  # a span that lacks no more than this is all of the take


def captioned_clips(folders: Sequence[str], split: str) -> list[Clip]:
    """The clips of ``split`` in all folders that can be read and are told by a caption or a class.

    Raises:
        EncoderError: a folder has none.
        MotionError: a folder is not there, or knows no such split.
    """
    clips: list[Clip] = []
    for folder in folders:
        found, faults = [], []
        for take in open_source(Path(folder), split=split):
            try:
                read = take.read()
            except MotionError as error:
                faults.append(str(error))
                continue
            told = [clip for clip in read if clip.captions or clip.labels.get("class_text")]
            if len(told) < len(read):
                faults.append(f"{take.take} has no caption")
            found += [part for clip in told for part in by_caption(clip)]
        if not found:
            raise EncoderError(
                f"{folder}: no captioned clip in the split {split!r}{''.join(f'; {fault}' for fault in faults[:1])}; "
                "add captions, or give another --data"
            )
        if faults:
            log.info("%s, %s: %d takes left out, the first: %s", folder, split, len(faults), faults[0])
        clips += found
    return clips


def by_caption(clip: Clip) -> Iterator[Clip]:
    """The clip with the captions that tell all of it, then the seconds of every caption that has times of its own."""
    timed = [c for c in clip.captions if 0 < c.end_s - c.start_s < clip.duration_s - ROUNDING_S]
    whole = tuple(c for c in clip.captions if c not in timed)
    if whole or clip.labels.get("class_text"):
        yield replace(clip, captions=whole)
    for caption in timed:
        if caption.end_s - caption.start_s < SHORTEST_S:
            continue
        yield replace(clip.cut(caption.start_s, caption.end_s), captions=(replace(caption, start_s=0.0, end_s=0.0),))


def mark_of(clips: Sequence[Clip]) -> str:
    """A mark that changes when the clips do: a run is not gone on with on other data of the same name."""
    digest = hashlib.blake2b(digest_size=16)
    for clip in clips:
        digest.update(clip.content_hash().encode())
    return digest.hexdigest()
