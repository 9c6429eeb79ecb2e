"""Errors of the indexer room.

IndexingError
├── EncoderMismatch     a library holds vectors of another encoder
├── SourceNameClash     two folders would write under one name
└── NothingIndexed      every take was rejected, so there is nothing to commit

Every message says what happened, to which file or value, and what to do about it.
"""

from __future__ import annotations


class IndexingError(Exception):
    """Base of everything that goes wrong while sources become clips of a library."""


class EncoderMismatch(IndexingError):
    """A library holds vectors of another encoder than the one at hand."""


class SourceNameClash(IndexingError):
    """Two folders would write their takes under one name."""


class NothingIndexed(IndexingError):
    """Every take was rejected, so there is nothing to commit."""
