"""Hits as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from remora.errors import RemoraError

if TYPE_CHECKING:
    from remora.engine import Engine
    from retriever import Hits


def check_picture(path: Path) -> None:
    """Refuse, before anything is searched, a path that no picture can be written to.

    Raises:
        RemoraError: it does not end in .png, or its folder is not there.
    """
    if path.suffix.lower() != ".png":
        raise RemoraError(f"{path}: pictures end in .png, not in {path.suffix!r}; rename it")
    if not path.parent.is_dir() or path.is_dir():
        raise RemoraError(f"{path}: no file can be written there; check its folder")


def draw_hits(engine: Engine, hits: Hits, path: Path, *, most: int = 6) -> None:
    """Draw the first ``most`` hits as strips of poses, each under its rank, score and caption.

    Raises:
        RemoraError: there is no hit.
    """
    from motion.draw import strips

    shown = list(hits)[:most]
    if not shown:
        raise RemoraError(f"{path}: not drawn, no clip fits; ask for something else or drop --where")
    titles = [f"{hit.rank}   {hit.score:.3f}   {(hit.captions or (hit.clip_id,))[0]}" for hit in shown]
    strips([engine.clip(hit.clip_id) for hit in shown], titles, path)
