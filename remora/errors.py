"""The error of the front door: a request that no room below ever sees.

Each room has its own tree (``MotionError``, ``LibraryError``, ``EncoderError``, ``IndexingError``, ``RetrievalError``);
the command line prints any of them as one line.
"""

from __future__ import annotations


class RemoraError(Exception):
    """A request that makes no sense as it is; the message says what to ask instead."""
