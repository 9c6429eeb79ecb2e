"""Questions to hits, zero-shot classification, and the protocols that measure both."""

from retriever.babel import BabelReport, evaluate_babel
from retriever.calibration import Calibration, calibration_of, save_calibration
from retriever.classification import ClassificationReport, draw_confusion, evaluate_classification
from retriever.classify import Classification, Label, classify
from retriever.compositions import LocalizationReport, evaluate_localization
from retriever.errors import EvaluationError, QueryError, RetrievalError
from retriever.evaluate import ALL_PROTOCOLS, Evaluation, evaluate_retrieval
from retriever.localize import Moment, Moments, Windows, embed_windows, localize, separate_takes
from retriever.pair_protocols import PairRow
from retriever.query import Query, rocchio
from retriever.questions import Row
from retriever.scores import (
    SCORES,
    Events,
    Hybrid,
    MaxSim,
    Parts,
    Score,
    Tokens,
    Whole,
    late_interaction,
    max_sim,
    score_named,
)
from retriever.search import CaptionHit, CaptionHits, Hit, Hits, describe, search, search_batch

__all__ = [
    "ALL_PROTOCOLS",
    "SCORES",
    "BabelReport",
    "Calibration",
    "CaptionHit",
    "CaptionHits",
    "Classification",
    "ClassificationReport",
    "Evaluation",
    "EvaluationError",
    "Events",
    "Hit",
    "Hits",
    "Hybrid",
    "Label",
    "LocalizationReport",
    "MaxSim",
    "Moment",
    "Moments",
    "PairRow",
    "Parts",
    "Query",
    "QueryError",
    "RetrievalError",
    "Row",
    "Score",
    "Tokens",
    "Whole",
    "Windows",
    "calibration_of",
    "classify",
    "describe",
    "draw_confusion",
    "embed_windows",
    "evaluate_babel",
    "evaluate_classification",
    "evaluate_localization",
    "evaluate_retrieval",
    "late_interaction",
    "localize",
    "max_sim",
    "rocchio",
    "save_calibration",
    "score_named",
    "search",
    "search_batch",
    "separate_takes",
]
