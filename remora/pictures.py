"""Hits as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from remora.errors import QueryError

if TYPE_CHECKING:
    from remora.engine import Engine
    from retriever import Hits


def draw_hits(engine: Engine, hits: Hits, path: Path, *, most: int = 6) -> None:
    """Draw the first ``most`` hits as strips of poses, each under its rank, score and caption.

    Raises:
        QueryError: there is no hit.
    """
    from motion.draw import strips

    shown = list(hits)[:most]
    if not shown:
        raise QueryError(f"{path}: not drawn, no clip fits; ask for something else or drop --where")
    titles = [f"{hit.rank}   {hit.score:.3f}   {(hit.captions or (hit.clip_id,))[0]}" for hit in shown]
    strips([engine.clip(hit.clip_id) for hit in shown], titles, path)
