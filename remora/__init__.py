"""Remora: a library of human motion that you can ask.

Names are loaded when they are first used: ``import remora`` costs nothing and loads no torch, faiss or pyarrow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from remora.threads import settle_threads

if TYPE_CHECKING:
    from db import Library
    from encoders import load_encoder
    from indexer import IndexReport
    from motion import Caption, Clip, open_source, read, write
    from motion.synth import synthesise
    from remora.engine import Engine
    from retriever import Classification, Hit, Hits

__version__ = "0.1.0"

settle_threads()

_HOMES = {
    "Caption": "motion",
    "Classification": "retriever",
    "Clip": "motion",
    "Engine": "remora.engine",
    "Hit": "retriever",
    "Hits": "retriever",
    "IndexReport": "indexer",
    "Library": "db",
    "load_encoder": "encoders",
    "open_source": "motion",
    "read": "motion",
    "synthesise": "motion.synth",
    "write": "motion",
}

__all__ = [
    "Caption",
    "Classification",
    "Clip",
    "Engine",
    "Hit",
    "Hits",
    "IndexReport",
    "Library",
    "load_encoder",
    "open_source",
    "read",
    "synthesise",
    "write",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'remora' has no attribute {name!r}") from None
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
