"""Vector spaces: vectors are comparable within one space only, and mixing spaces is an error, not a bad result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from db.errors import RequestError

_SIZES = {"f4": 4, "f2": 2}


@dataclass(frozen=True)
class Space:
    """Where vectors live: made by the encoder ``fingerprint``, of one ``part``, ``role`` motion or text, ``dim``
    numbers.

    ``rows_of`` tells what a vector belongs to: a row (clip) or a caption. Vectors are unit vectors, compared by inner
    product.
    """

    fingerprint: str
    part: str
    role: Literal["motion", "text"]
    dim: int
    metric: Literal["ip"] = "ip"
    dtype: Literal["f4", "f2"] = "f4"
    rows_of: Literal["rows", "captions"] = "rows"

    def __post_init__(self) -> None:
        if not 0 < self.dim <= 65_536 or self.dtype not in _SIZES or self.metric != "ip":
            raise RequestError(
                f"space {self.part!r} has dim {self.dim}, dtype {self.dtype}, metric {self.metric}; not supported"
            )

    @property
    def name(self) -> str:
        """How a space is asked for: "motion/whole", "motion/left_arm", "text/whole"."""
        return f"{self.role}/{self.part}"

    @property
    def key(self) -> str:
        """Eight hex digits that name the space's files."""
        text = json.dumps([self.fingerprint, self.part, self.role, self.metric, self.dim, self.dtype, self.rows_of])
        return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()

    @property
    def stride(self) -> int:
        """Bytes from one vector to the next: whole cache lines."""
        return -(-self.dim * _SIZES[self.dtype] // 64) * 64

    def to_json(self) -> dict[str, Any]:
        """The manifest entry."""
        return {
            "key": self.key, "fingerprint": self.fingerprint, "part": self.part, "role": self.role, "dim": self.dim,
            "metric": self.metric, "dtype": self.dtype, "rows_of": self.rows_of, "normalised": True,
        }  # fmt: skip

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Space:
        """The space of a manifest entry."""
        names = ("fingerprint", "part", "role", "dim", "metric", "dtype", "rows_of")
        return cls(**{name: entry[name] for name in names})
