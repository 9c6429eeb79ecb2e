"""Motions that are not in the library: uploads and results, in memory, the oldest leaves first."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Literal

from motion import Clip

Kind = Literal["upload", "result"]


class Shelf:
    """At most ``kept`` clips of one kind; their names cannot be guessed."""

    def __init__(self, kind: Kind, kept: int) -> None:
        self.kind, self._kept = kind, kept
        self._clips: OrderedDict[str, Clip] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, clip: Clip) -> Clip:
        """``clip`` under its new name."""
        named = replace(clip, clip_id=f"{self.kind}:{secrets.token_hex(8)}")
        with self._lock:
            self._clips[named.clip_id] = named
            while len(self._clips) > self._kept:
                self._clips.popitem(last=False)
        return named

    def get(self, clip_id: str) -> Clip | None:
        """The clip of that name, None when there is none (any more)."""
        with self._lock:
            return self._clips.get(clip_id)

    def holds(self, clip_id: str) -> bool:
        """Whether a name is one of this shelf's kind."""
        return clip_id.startswith(f"{self.kind}:")
