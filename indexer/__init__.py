"""Sources become clips, vectors and a new version of a library: listing, cutting, embedding, committing."""

from indexer.errors import EncoderMismatch, IndexingError, NothingIndexed, SourceNameClash
from indexer.keeping import keep
from indexer.pipeline import index
from indexer.report import IndexReport, Progress, Rejected
from indexer.rows import clip_of_row
from indexer.spans import SpanRule, cut
from indexer.target import check_encoder, spec_of_card

__all__ = [
    "EncoderMismatch",
    "IndexReport",
    "IndexingError",
    "NothingIndexed",
    "Progress",
    "Rejected",
    "SourceNameClash",
    "SpanRule",
    "check_encoder",
    "clip_of_row",
    "cut",
    "index",
    "keep",
    "spec_of_card",
]
