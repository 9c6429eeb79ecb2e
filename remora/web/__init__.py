"""The studio: a library behind HTTP, with a page for people, an API for programs and tools for assistants.

Everything here stands on :class:`remora.Engine`; names are loaded when they are first used, none of them by ``--help``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from remora.web.app import create_app
    from remora.web.frames import decode_frames
    from remora.web.settings import Settings

_HOMES = {"Settings": "settings", "create_app": "app", "decode_frames": "frames"}

__all__ = ["Settings", "create_app", "decode_frames"]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'remora.web' has no attribute {name!r}") from None
    return getattr(import_module(f"remora.web.{home}"), name)
