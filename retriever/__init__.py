"""Questions to hits, zero-shot classification, and the protocols that measure both."""

from retriever.classify import Classification, classify
from retriever.errors import EvaluationError, QueryError, RetrievalError
from retriever.evaluate import ALL_PROTOCOLS, Evaluation, Row, evaluate_retrieval
from retriever.pair_protocols import PairRow
from retriever.query import Query, rocchio
from retriever.scores import SCORES, Hybrid, MaxSim, Parts, Score, Whole, max_sim, score_named
from retriever.search import CaptionHit, CaptionHits, Hit, Hits, describe, search, search_batch

__all__ = [
    "ALL_PROTOCOLS",
    "SCORES",
    "CaptionHit",
    "CaptionHits",
    "Classification",
    "Evaluation",
    "EvaluationError",
    "Hit",
    "Hits",
    "Hybrid",
    "MaxSim",
    "PairRow",
    "Parts",
    "Query",
    "QueryError",
    "RetrievalError",
    "Row",
    "Score",
    "Whole",
    "classify",
    "describe",
    "evaluate_retrieval",
    "max_sim",
    "rocchio",
    "score_named",
    "search",
    "search_batch",
]
