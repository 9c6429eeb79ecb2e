"""Index kinds: one file each, registered by being imported here."""

from db.indexes.base import KINDS, IndexSpec, index_kinds, spec_from_json
from db.indexes.hnsw import Hnsw
from db.indexes.pq import IvfPq, Pq
from db.indexes.scalar import Scalar

__all__ = ["KINDS", "Hnsw", "IndexSpec", "IvfPq", "Pq", "Scalar", "index_kinds", "spec_from_json"]
