"""The golden library of the present format: ``python -m tests.golden.make FOLDER``. It is made once and never changed after.

It has all that the format knows: several segments, spaces of clips and captions in both number types, a part that is missing,
replaced and deleted clips, a compaction, a tag, a setting, a derived index, and a version that was gone back to.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from db import Library, NewIndex, Snapshot
from tests.db.world import SPACES, batch, names

HALF = replace(SPACES[1], dtype="f2")


def contents(snapshot: Snapshot) -> dict[str, Any]:
    """All that can be read of a version, as plain JSON."""
    ids = sorted(snapshot.ids())
    return {
        "ids": ids,
        "rows": snapshot.rows(
            ids, ["clip_id", "source", "duration_s", "n_frames", "fps", "mirrored", "sha256"]
        ).to_pylist(),
        "captions": snapshot.captions(ids).to_pylist(),
        "frames": [snapshot.frames(name).decode() for name in ids],
        "vectors": {
            space: hashlib.blake2b(snapshot.vectors(ids, space).tobytes(), digest_size=16).hexdigest()
            for space in ("motion/whole", "motion/left_arm")
        },
    }


def put(library: Library, *numbers: int, version: int = 0, delete: tuple[int, ...] = ()) -> None:
    with library.begin(txn_id=f"golden-{library.latest}", note="golden") as change:
        rows, said, vectors, frames = batch(names(*numbers), version=version)
        vectors["motion/left_arm"][0] = 0.0
        change.upsert(rows, said, vectors, frames)
        change.delete(ids=names(*delete))
        change.commit()


def make(folder: Path) -> None:
    library = Library.create(
        folder / "library", spaces=[SPACES[0], HALF, SPACES[2]], encoder={"name": "golden", "fingerprint": "f" * 32}
    )
    library.auto_compact = False
    put(library, 1, 2, 3)
    put(library, 4, 5)
    library.compact(thorough=True)
    put(library, 2, 6, version=1, delete=(4,))
    library.tag("six", 4)
    put(library, 7, 8, version=2, delete=(1, 2, 3, 5))
    library.restore("six")
    put(library, 9)
    entry = library.snapshot().manifest.segments[0]
    library.change_indexes(
        [NewIndex("golden", "motion/whole", "test", [entry.id], entry.rows, {"index.bin": b"derived"})]
    )
    library.configure({"search": {"kind": "flat"}})
    said = {str(v.version): {"kind": v.kind, **contents(library.snapshot(v.version))} for v in library.versions()}
    (folder / "expected.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
