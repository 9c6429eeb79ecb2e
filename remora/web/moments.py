"""The windows of clips in which sentences are looked for: embedding them costs seconds, so the last ones are remembered.

A second sentence in the same clip, or the same one with a word more, then costs a millisecond.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from motion import Clip
from remora.engine import Engine
from remora.web.errors import StudioError
from retriever import Windows, embed_windows


class WindowShelf:
    """Windows of at most ``kept`` clips, of at most ``most_s`` seconds each; the oldest leave first."""

    def __init__(self, kept: int, most_s: float) -> None:
        self._kept, self._most_s = kept, most_s
        self._known: OrderedDict[tuple[str, int, str], Windows] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, engine: Engine, clip: Clip) -> Windows:
        """The windows of a clip, embedded where they are not known; StudioError 422 when it is too long for a studio."""
        if clip.duration_s > self._most_s:
            raise StudioError(
                422, "too_long", f"this clip lasts {clip.duration_s:.0f} s; moments are looked for in {self._most_s:.0f} s "
                "here at most: export a piece of it, or use remora search --localize",
            )  # fmt: skip
        key = (engine.snapshot.manifest.library, engine.snapshot.version, clip.clip_id)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        made = embed_windows(engine.encoder, clip)
        with self._lock:
            self._known[key] = made
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
        return made
