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
from db.exchange import export_parquet, import_vectors, open_for_vectors, read_vectors
from db.filters import And, Compare, Filter, In, IsNull, Like, Not, Or, Says, parse_filter
from db.history import Diff, LibraryStats, VersionInfo
from db.indexes import IndexSpec, index_kinds
from db.ingest import Ingest
from db.library import Library
from db.manifest import IndexEntry
from db.marks import NewIndex
from db.neighbours import Pair
from db.publish import CommitReport
from db.repair import RepairReport
from db.scanners import HALF_ROUNDING, FaissGpuScanner, Scanner, ScannerFactory, probe_faiss_gpu
from db.searcher import Hits
from db.snapshot import Snapshot
from db.space import Space
from db.tune import TuneReport, default_specs
from db.vacuum import VacuumReport
from db.vectors import SpaceVectors
from db.verify import VerifyReport

__all__ = [
    "HALF_ROUNDING",
    "And",
    "CommitReport",
    "CommitUncertain",
    "CompactReport",
    "Compare",
    "ConflictError",
    "CorruptionError",
    "Diff",
    "FaissGpuScanner",
    "Filter",
    "FilterError",
    "FormatError",
    "Hits",
    "In",
    "IndexEntry",
    "IndexSpec",
    "Ingest",
    "IsNull",
    "Library",
    "LibraryError",
    "LibraryNotFound",
    "LibraryStats",
    "Like",
    "NewIndex",
    "Not",
    "Or",
    "Pair",
    "RepairReport",
    "RequestError",
    "Says",
    "Scanner",
    "ScannerFactory",
    "Snapshot",
    "SnapshotExpired",
    "Space",
    "SpaceVectors",
    "Transaction",
    "TuneReport",
    "VacuumReport",
    "VerifyReport",
    "VersionInfo",
    "WriteError",
    "default_specs",
    "export_parquet",
    "import_vectors",
    "index_kinds",
    "open_for_vectors",
    "parse_filter",
    "probe_faiss_gpu",
    "read_vectors",
]
