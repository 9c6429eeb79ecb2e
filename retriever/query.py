"""What can be asked: a sentence, a motion, or a clip of the library; by the whole body or by weighed parts.

- Whole body is the default. ``parts`` compares only these; ``weights`` weighs parts (and ``whole``) against one another.
- A query knows how to become vectors; it knows nothing of libraries beyond the vectors of a clip that is in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from db import Snapshot
from encoders import DualEncoder
from motion import Clip
from retriever.errors import QueryError

WHOLE = "whole"


@dataclass(frozen=True)
class Query:
    """A question: exactly one of ``text``, ``clip``, ``clip_id``."""

    text: str | None = None
    clip: Clip | None = None
    clip_id: str | None = None
    parts: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = [name for name in ("text", "clip", "clip_id") if getattr(self, name) is not None]
        if len(given) != 1:
            raise QueryError(f"a query is one of text, clip and clip_id, this one has {' and '.join(given) or 'none'}")
        if self.text is not None and not self.text.strip():
            raise QueryError('the query is empty; say what to look for, such as "a person waves"')

    def weight_of_parts(self, known: tuple[str, ...]) -> dict[str, float]:
        """Weights by space name ("whole" or a part), summing to one; QueryError names parts that are not ``known``."""
        weights = dict.fromkeys(self.parts, 1.0) | dict(self.weights) if self.parts or self.weights else {WHOLE: 1.0}
        unknown = sorted(set(weights) - {WHOLE, *known})
        if unknown:
            names = ", ".join(known) or "none: this encoder has no parts"
            raise QueryError(f"no body part {unknown[0]!r}; there are {names}")
        if not all(np.isfinite(w) and w >= 0 for w in weights.values()) or sum(weights.values()) <= 0:
            raise QueryError(f"weights must be 0 or more and not all 0, these are {dict(weights)}")
        total = sum(weights.values())
        return {name: w / total for name, w in weights.items() if w > 0}

    def describe(self) -> str:
        """The query in a line, for answers and titles."""
        if self.text is not None:
            return self.text
        return (
            f"clip {self.clip_id}"
            if self.clip is None
            else f"motion {self.clip.clip_id or self.clip.source.take or '(unnamed)'}"
        )


@dataclass(frozen=True)
class QueryVectors:
    """Unit vectors of one query: ``whole`` [D] and ``parts`` name -> [D]."""

    whole: NDArray[np.float32]
    parts: Mapping[str, NDArray[np.float32]]

    def of(self, name: str) -> NDArray[np.float32]:
        """The vector [1, D] of "whole" or a part."""
        return (self.whole if name == WHOLE else self.parts[name])[None]


def embed(query: Query, encoder: DualEncoder, snapshot: Snapshot) -> QueryVectors:
    """The vectors of a query; those of a clip in the library are read from it, not made again."""
    names = encoder.spec.parts
    if query.clip_id is not None:
        found = {name: snapshot.vectors([query.clip_id], f"motion/{name}")[0] for name in (WHOLE, *names)}
        return QueryVectors(found.pop(WHOLE), found)
    made = encoder.encode_text([query.text]) if query.text is not None else encoder.encode_motion([_clip(query)])
    return QueryVectors(made.whole[0], {name: made.parts[0, i] for i, name in enumerate(names)})


def _clip(query: Query) -> Clip:
    if query.clip is None:
        raise QueryError("the query has no motion")
    return query.clip
