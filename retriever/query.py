"""What can be asked: a sentence, a motion, a clip of the library, a motion and a sentence at once; more like some clips
and unlike others; or its mirror image.

- Whole body is the default. ``parts`` compares only these; ``weights`` weighs parts (and ``whole``) against one
  another.
- A motion (or a clip) with a sentence is "like this, but with raised arms": the unit vector of their weighted sum, in the
  whole and in every part; ``words`` is the sentence's share (:data:`WORDS`, chosen on validation, see ``notebooks/LOG.md``).
- ``like`` and ``unlike`` move the question towards some clips of the library and away from others, or, with ``like``
  alone, are the question. These clips themselves are not answers.
- A query knows how to become vectors; it knows nothing of libraries beyond the vectors of a clip that is in one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from db import Snapshot
from encoders import DualEncoder
from motion import Clip, mirror_clip, swap_sides
from retriever.errors import QueryError

WHOLE = "whole"
TOWARDS = 0.75  # weights of Rocchio's formula as textbooks have them
AWAY = 0.25
WORDS = 0.6  # of a composed question: best on validation, .4 and .8 do much worse

Mirror = Literal["", "only", "also"]


@dataclass(frozen=True)
class Query:
    """A question: ``text``, ``clip`` or ``clip_id``, text with one of the others, or none of them with ``like``."""

    text: str | None = None
    clip: Clip | None = None
    clip_id: str | None = None
    parts: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    mirror: Mirror = ""
    words: float = WORDS  # share of the text, 0..1, where there is a motion too

    def __post_init__(self) -> None:
        given = [name for name in ("text", "clip", "clip_id") if getattr(self, name) is not None]
        if "clip" in given and "clip_id" in given:
            raise QueryError("a query is about one motion, this one has a clip and a clip_id; leave one out")
        if not (given or self.like):
            raise QueryError("a query is a text, a motion or a clip of the library, this one has none")
        if not 0 <= self.words <= 1:
            raise QueryError(f"the share of the words is {self.words}; give a number from 0 (motion alone) to 1")
        if self.text is not None and not self.text.strip():
            raise QueryError('the query is empty; say what to look for, such as "a person waves"')
        both = sorted(set(self.like) & set(self.unlike))
        if both:
            raise QueryError(f"clip {both[0]!r} is to be both like and unlike; take it out of one")
        if self.mirror not in ("", "only", "also"):
            raise QueryError(f"mirror is {self.mirror!r}; use 'only' or 'also', or leave it out")
        if self.mirror and (self.clip_id is not None or (self.text is None and self.clip is None)):
            raise QueryError(
                "a mirror image is made of a sentence or a motion; give the clip's motion instead of its id"
            )

    def weight_of_parts(self, known: tuple[str, ...]) -> dict[str, float]:
        """Weights by space name ("whole" or a part), summing to one; QueryError names parts that are not ``known``."""
        weights = self.part_weights or {WHOLE: 1.0}
        check_weights(weights, known)
        total = sum(weights.values())
        return {name: w / total for name, w in weights.items() if w > 0}

    @property
    def part_weights(self) -> dict[str, float]:
        """Weights of parts as they were given; empty where the whole body counts."""
        return dict.fromkeys(self.parts, 1.0) | dict(self.weights)

    def mirrored(self) -> Query:
        """The mirror image: left for right in a sentence and in a motion."""
        text = None if self.text is None else swap_sides(self.text)
        return replace(self, text=text, clip=None if self.clip is None else mirror_clip(self.clip), mirror="")

    def describe(self) -> str:
        """The query in a line, for answers and titles."""
        base = "" if self.clip_id is None else f"clip {self.clip_id}"
        if self.clip is not None:
            base = f"motion {self.clip.clip_id or self.clip.source.take or '(unnamed)'}"
        if self.text is not None:
            base = f"{base}, but {self.text}" if base else self.text
        more = [f"like {', '.join(self.like)}"] if self.like else []
        more += [f"unlike {', '.join(self.unlike)}"] if self.unlike else []
        more += [f"mirrored: {self.mirror}"] if self.mirror else []
        return ", ".join([base, *more] if base else more)


def check_weights(weights: Mapping[str, float], parts: tuple[str, ...]) -> None:
    """QueryError unless ``weights`` name the whole or known ``parts``, and are 0 or more and not all 0."""
    unknown = sorted(set(weights) - {WHOLE, *parts})
    if unknown:
        names = ", ".join(parts) or "none: this encoder has no parts"
        raise QueryError(f"no body part {unknown[0]!r}; there are {names}")
    if not all(np.isfinite(w) and w >= 0 for w in weights.values()) or sum(weights.values()) <= 0:
        raise QueryError(f"weights must be 0 or more and not all 0, these are {dict(weights)}")


@dataclass(frozen=True)
class QueryVectors:
    """Unit vectors of one query: ``whole`` [D] and ``parts`` name -> [D]; its words, where it has some."""

    whole: NDArray[np.float32]
    parts: Mapping[str, NDArray[np.float32]]
    text: str = ""

    def of(self, name: str) -> NDArray[np.float32]:
        """The vector [1, D] of "whole" or a part."""
        return (self.whole if name == WHOLE else self.parts[name])[None]

    @cached_property
    def stacked(self) -> NDArray[np.float32]:
        """The vectors [P, D] of all parts."""
        return np.stack(list(self.parts.values()))


def embed(query: Query, encoder: DualEncoder, snapshot: Snapshot) -> QueryVectors:
    """The vectors of a query; those of a clip in the library are read from it, not made again."""
    names = (WHOLE, *encoder.spec.parts)
    base: dict[str, NDArray[np.float32]] = {}
    if query.clip_id is not None:
        base = {name: snapshot.vectors([query.clip_id], f"motion/{name}")[0] for name in names}
    elif query.clip is not None:
        made = encoder.encode_motion([query.clip])
        base = dict(zip(names, [made.whole[0], *made.parts[0]], strict=True))
    if query.text is not None:
        made = encoder.encode_text([query.text])
        said = dict(zip(names, [made.whole[0], *made.parts[0]], strict=True))
        base = {name: composed(base[name], said[name], query.words) for name in names} if base else said
    if query.like or query.unlike:
        for name in names:
            near, far = (snapshot.vectors(ids, f"motion/{name}") for ids in (query.like, query.unlike))
            base[name] = rocchio(base.get(name), near, far)
    return QueryVectors(base.pop(WHOLE), base, query.text or "")


def composed(motion: NDArray[np.float32], text: NDArray[np.float32], words: float) -> NDArray[np.float32]:
    """The unit vector [D] of a motion's and a sentence's weighted sum; a part the motion lacks (zeros) stays absent."""
    total = (1 - words) * motion.astype(np.float64) + words * text.astype(np.float64)
    length = float(np.linalg.norm(total))
    if not motion.any() or length < 1e-6:
        return np.zeros_like(motion)
    return (total / length).astype(np.float32)


def rocchio(
    query: NDArray[np.float32] | None,
    like: NDArray[np.float32],
    unlike: NDArray[np.float32],
    *,
    towards: float = TOWARDS,
    away: float = AWAY,
) -> NDArray[np.float32]:
    """A query [D] moved towards the mean of ``like`` [n, D] and away from that of ``unlike`` [m, D], as a unit vector
    [D].

    q + towards * mean(like) - away * mean(unlike), after Rocchio, "Relevance feedback in information retrieval" (1971).

    Raises:
        QueryError: nothing is left, as when a clip is to be like and unlike itself.
    """
    total = np.zeros(like.shape[1] if query is None else len(query))
    for vectors, weight in ((None if query is None else query[None], 1.0), (like, towards), (unlike, -away)):
        if vectors is not None and len(vectors):
            total += weight * vectors.astype(np.float64).mean(axis=0)
    length = float(np.linalg.norm(total))
    if length < 1e-6:
        raise QueryError("what the clips are to be like and unlike cancels out; name others")
    return (total / length).astype(np.float32)
