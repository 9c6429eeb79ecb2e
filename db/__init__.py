"""The store: vectors, rows, captions and frames in one versioned folder. Knows nothing of motion or models."""

from db.commit import Transaction
from db.compaction import CompactReport
from db.errors import (
    CommitUncertain,
    ConflictError,
    CorruptionError,
    FilterError,
    FormatError,
    LibraryError,
    LibraryNotFound,
    RequestError,
    SnapshotExpired,
    WriteError,
)
from db.filters import And, Compare, Filter, In, IsNull, Like, Not, Or, Says, parse_filter
from db.history import Diff, LibraryStats, VersionInfo
from db.library import Library
from db.manifest import IndexEntry
from db.marks import NewIndex
from db.publish import CommitReport
from db.repair import RepairReport
from db.searcher import Hits
from db.snapshot import Snapshot
from db.space import Space
from db.vacuum import VacuumReport
from db.verify import VerifyReport

__all__ = [
    "And",
    "CommitReport",
    "CommitUncertain",
    "CompactReport",
    "Compare",
    "ConflictError",
    "CorruptionError",
    "Diff",
    "Filter",
    "FilterError",
    "FormatError",
    "Hits",
    "In",
    "IndexEntry",
    "IsNull",
    "Library",
    "LibraryError",
    "LibraryNotFound",
    "LibraryStats",
    "Like",
    "NewIndex",
    "Not",
    "Or",
    "RepairReport",
    "RequestError",
    "Says",
    "Snapshot",
    "SnapshotExpired",
    "Space",
    "Transaction",
    "VacuumReport",
    "VerifyReport",
    "VersionInfo",
    "WriteError",
    "parse_filter",
]
