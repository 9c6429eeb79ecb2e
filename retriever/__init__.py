"""Questions to hits, zero-shot classification, and the protocols that measure both."""

from retriever.classify import Classification, classify
from retriever.errors import EvaluationError, QueryError, RetrievalError
from retriever.evaluate import Evaluation, Row, evaluate_retrieval
from retriever.query import Query
from retriever.search import CaptionHit, CaptionHits, Hit, Hits, describe, search

__all__ = [
    "CaptionHit",
    "CaptionHits",
    "Classification",
    "Evaluation",
    "EvaluationError",
    "Hit",
    "Hits",
    "Query",
    "QueryError",
    "RetrievalError",
    "Row",
    "classify",
    "describe",
    "evaluate_retrieval",
    "search",
]
