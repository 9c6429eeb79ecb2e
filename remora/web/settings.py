"""What a studio may do and how much: one frozen value, decided by the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_K = 200
MAX_OFFSET = 10_000
MAX_WITHIN = 20_000
MAX_EXAMPLES = 64  # clips that a question is like, or not like
MAX_TEXT = 200_000  # characters that are accepted; what is embedded is cut by the engine
MAX_JSON = 2 << 20  # bytes of a JSON body
MAX_LABELS = 200


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a studio runs.

    ``hosts`` are the names it answers to (empty: all); ``token`` is asked of everybody where it is set. ``rate`` and ``burst``
    are requests a second and at once, of one address. Uploads and results live in memory, at most ``kept`` of each.
    """

    library: Path
    encoder: str | None = None
    generator: str | None = None
    device: str = "auto"
    token: str | None = None
    hosts: frozenset[str] = field(default_factory=frozenset)
    read_only: bool = False
    mcp: bool = False
    watch: Path | None = None
    rate: float = 200.0
    burst: float = 400.0
    upload_bytes: int = 64 << 20
    upload_frames: int = 36_000
    upload_seconds: float = 20.0  # to send it, and to read it
    moments_seconds: float = 180.0  # of a clip that is looked through for a sentence
    export_clips: int = 100
    kept: int = 64
    waiting: int = 64  # questions that may wait for a thread
    jobs_waiting: int = 4
    streams: int = 32  # open streams of events
