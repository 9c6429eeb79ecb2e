"""Errors of the store.

LibraryError
├── LibraryNotFound     there is no library at that path
├── FormatError         the folder is not a library, or of a format this version cannot read
├── CorruptionError     a file is damaged or missing; says which, and what is still good
├── SnapshotExpired     the version that is read is no longer kept, and its files are gone
├── WriteError          the library cannot be written (rights, full disk)
│   └── CommitUncertain the disk failed while a commit was made durable: it may or may not be there
├── ConflictError       another writer got in between and the change cannot be merged
├── FilterError         a filter cannot be read, or names a column that is not there
└── RequestError        a request does not fit the library: unknown version, space, clip or shape
"""

from __future__ import annotations


class LibraryError(Exception):
    """Base of everything that goes wrong with a library."""


class LibraryNotFound(LibraryError):
    """There is no library at that path."""


class FormatError(LibraryError):
    """The folder is not a library, or one of a format this version cannot read."""


class CorruptionError(LibraryError):
    """A file of the library is damaged or missing."""


class SnapshotExpired(LibraryError):
    """A vacuum dropped the version that is read; open the newest one."""


class WriteError(LibraryError):
    """The library cannot be written."""


class CommitUncertain(WriteError):
    """A commit may or may not have become durable; look for its transaction id before trying again."""


class ConflictError(LibraryError):
    """Another writer changed the library in a way that cannot be merged with this change."""


class FilterError(LibraryError):
    """A filter cannot be read or names something that is not there."""


class RequestError(LibraryError):
    """A request does not fit what the library holds."""
