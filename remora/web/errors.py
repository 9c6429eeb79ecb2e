"""What a studio answers when it cannot: a status, a code for programs, a sentence for people, never a path of this machine."""

from __future__ import annotations

import re

from db import ConflictError, CorruptionError, FilterError, FormatError, LibraryError, LibraryNotFound, RequestError
from encoders import EncoderError
from generator import GeneratorError
from indexer import IndexingError
from motion import MotionError
from remora.errors import RemoraError
from retriever import RetrievalError

_PATH = re.compile(
    r"(?<![\w.:/~#-])(?:[A-Za-z]:[\\/]|[\\/]{1,2}(?=[\w.~-]))(?:[^\s'\"<>|:;,()]*[\\/])*([^\s'\"<>|:;,()\\/]*)"
)


class StudioError(RemoraError):
    """An answer that is an error: HTTP ``status``, a ``code``, and seconds after which to ask again."""

    def __init__(self, status: int, code: str, message: str, *, retry_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_s = status, code, retry_s


def not_found(clip: str) -> StudioError:
    """There is no such clip."""
    return StudioError(404, "not_found", f"there is no clip {clip[:200]!r} here; search for one, or reload the page")


def busy(what: str) -> StudioError:
    """Too much is asked at once."""
    return StudioError(429, "busy", f"{what}; ask again in a second", retry_s=1)


def without_paths(text: str) -> str:
    """``text`` with every absolute path cut down to its last name, in one line."""
    return " ".join(_PATH.sub(lambda match: match[1], text).split())


def as_studio_error(error: Exception) -> StudioError | None:
    """What one of our rooms said as an answer; None for a fault of our own."""
    if isinstance(error, StudioError):
        return error
    message = without_paths(str(error))
    if isinstance(error, ConflictError):
        return StudioError(409, "conflict", message, retry_s=1)
    if isinstance(error, RequestError | FilterError | RetrievalError | RemoraError):
        return StudioError(422, "request", message)
    if isinstance(error, LibraryNotFound | CorruptionError | FormatError | LibraryError):
        return StudioError(503, "library", message, retry_s=5)
    if isinstance(error, GeneratorError | MotionError):
        return StudioError(422, "request", message)
    if isinstance(error, OSError):
        why = error.strerror or type(error).__name__
        return StudioError(
            503, "library", f"a file of the library cannot be read ({why}); is it still there?", retry_s=5
        )
    if isinstance(error, EncoderError | IndexingError):
        return StudioError(503, "models", message, retry_s=5)
    return None
