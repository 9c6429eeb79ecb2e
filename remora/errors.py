"""Errors of the front door.

RemoraError
├── QueryError      a question that cannot be asked
└── NotInstalled    an optional part is missing, and the message says how to get it
"""

from __future__ import annotations


class RemoraError(Exception):
    """Base of what goes wrong at the front door; the rooms below have their own trees."""


class QueryError(RemoraError):
    """A question that cannot be asked: empty, of two kinds at once, or about a clip that is not there."""


class NotInstalled(RemoraError):  # noqa: N818 - the words users see
    """An optional part is missing."""
