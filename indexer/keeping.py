"""One motion at hand, uploaded or generated, becomes a clip of a library, with the same rows and vectors as an indexed take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from encoders import DualEncoder
from indexer.errors import IndexingError
from indexer.rows import StampedClip, caption_table, frame_block, row_table, with_ids
from indexer.target import Target, check_encoder
from motion import Clip

SOURCE = "kept"


def keep(clip: Clip, library: Path | str, *, encoder: DualEncoder, name: str) -> str:
    """Add ``clip`` to a library that exists, as ``kept/<name>``, and return its id; a second one of that name gets a number.

    Raises:
        IndexingError: the name has no letter or digit, or the library has another encoder.  LibraryError: it cannot be written.
    """
    plain = re.sub(r"[^\w .-]+", "_", name).strip(" ._")[:80]
    if not any(sign.isalnum() for sign in plain):
        raise IndexingError(f"{name[:80]!r} is no name for a clip; give one with letters or digits")
    target = Target(Path(library))
    snapshot = target.snapshot()
    if snapshot is not None:
        check_encoder(snapshot, encoder.spec, target.path)
    known = set(snapshot.ids(f"source = '{SOURCE}'")) if snapshot is not None else set()
    takes = {clip_id.rpartition("#")[0] for clip_id in known}
    key, number = f"{SOURCE}/{plain}", 1
    while key in takes:
        number += 1
        key = f"{SOURCE}/{plain} {number}"
    source = replace(clip.source, dataset=SOURCE, take=key.partition("/")[2], start_s=0.0, end_s=clip.duration_s)
    (named,) = with_ids(key, [replace(clip, source=source)])
    motion, texts = encoder.encode_motion([named]), encoder.encode_text([caption.text for caption in named.captions])
    vectors = {"motion/whole": motion.whole, "text/whole": texts.whole}
    vectors |= {f"motion/{part}": motion.parts[:, column] for column, part in enumerate(encoder.spec.parts)}
    rows = [StampedClip(named, named.content_hash(), "")]
    with target.library(lambda: encoder.spec).begin(note=f"keep: {key}") as transaction:
        transaction.upsert(row_table(rows), caption_table(rows), vectors, [frame_block(named)])
        transaction.commit()
    return named.clip_id
