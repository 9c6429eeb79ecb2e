"""Errors of the retriever.

RetrievalError
├── QueryError          a question cannot be asked: empty, unknown parts, nothing to compare
└── EvaluationError     a data set cannot be evaluated: no clips of the split, no labels, no captions
"""

from __future__ import annotations


class RetrievalError(Exception):
    """Base of everything that goes wrong between a question and its answer."""


class QueryError(RetrievalError):
    """A question cannot be asked as it is."""


class EvaluationError(RetrievalError):
    """A data set cannot be evaluated as asked."""
