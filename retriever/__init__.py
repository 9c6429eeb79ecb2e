"""Questions to hits, zero-shot classification, and the protocols that measure both."""

from retriever.classify import Classification, classify
from retriever.errors import EvaluationError, QueryError, RetrievalError
from retriever.evaluate import ALL_PROTOCOLS, Evaluation, Row, evaluate_retrieval
from retriever.pair_protocols import PairRow
from retriever.query import Query
from retriever.search import CaptionHit, CaptionHits, Hit, Hits, describe, search

__all__ = [
    "ALL_PROTOCOLS",
    "CaptionHit",
    "CaptionHits",
    "Classification",
    "Evaluation",
    "EvaluationError",
    "Hit",
    "Hits",
    "PairRow",
    "Query",
    "QueryError",
    "RetrievalError",
    "Row",
    "classify",
    "describe",
    "evaluate_retrieval",
    "search",
]
