"""From an index file to an index: it is a cache, so whatever is wrong with it is said once and searched around.

- FAISS reads bytes only when their hash is the manifest's: its reader trusts what it is given.
- The settings a search may vary come from the library's configuration, which ``library tune`` wrote; the rest from
  the index.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from db.errors import LibraryError
from db.indexes import spec_from_json
from db.manifest import IndexEntry, Manifest
from db.plan import LoadedIndex
from db.space import Space
from db.store import SegmentStore

log = logging.getLogger(__name__)

INDEX_FILE = "index.faiss"
SEARCH_SETTINGS = "search"


def efforts(manifest: Manifest, space: str) -> Mapping[str, Any]:
    """How hard a space is to be searched, as it was tuned."""
    settings = manifest.config.get(SEARCH_SETTINGS)
    own = settings.get(space) if isinstance(settings, Mapping) else None
    found = own.get("efforts") if isinstance(own, Mapping) else None
    return {k: v for k, v in found.items() if isinstance(v, int)} if isinstance(found, Mapping) else {}


def load_index(
    entry: IndexEntry, store: SegmentStore, manifest: Manifest, space: Space, starts: tuple[int, ...]
) -> LoadedIndex | None:
    """The index of a manifest entry, or None where it is missing, damaged or does not fit this version."""
    import faiss

    places = {segment.id: number for number, segment in enumerate(manifest.segments)}
    if any(segment not in places for segment in entry.covers):
        return None
    pieces = []
    for segment in entry.covers:
        number = places[segment]
        listed = manifest.segments[number]
        count = listed.rows if space.rows_of == "rows" else listed.captions
        pieces.append(np.arange(count, dtype=np.int64) + starts[number])
    rows = np.concatenate([*pieces, np.zeros(0, np.int64)])
    data = store.index_file(entry, INDEX_FILE)
    if data is None:
        return None
    try:
        spec = spec_from_json({"kind": entry.kind, **entry.params}).with_effort(efforts(manifest, space.name))
        index = faiss.deserialize_index(np.frombuffer(data, np.uint8))
        if index.ntotal != len(rows) or index.d != space.dim or entry.rows != len(rows):
            raise LibraryError(f"it has {index.ntotal} vectors of {index.d} numbers, not {len(rows)} of {space.dim}")
    except (LibraryError, RuntimeError) as error:
        log.warning(
            "index %s is not used (%s); its vectors are searched instead; build it again with: remora library tune",
            entry.name, str(error).splitlines()[0],
        )  # fmt: skip
        return None
    return LoadedIndex(spec, index, rows)
