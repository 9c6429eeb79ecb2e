"""The library that is written to: does it fit the encoder, may it be written, what spaces does it have.

- A library is created at the first commit, not before: a run that fails leaves nothing behind.
- What cannot work is said before hours of embedding, not after.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from db import Library, Snapshot, Space
from encoders import EncoderSpec
from indexer.errors import EncoderMismatch, IndexingError


def spaces_of(spec: EncoderSpec) -> list[Space]:
    """The vector spaces of a library: motion as a whole and each part, and the captions' sentences."""
    wholes = [Space(fingerprint=spec.fingerprint, part="whole", role="motion", dim=spec.dim)]
    parts = [Space(fingerprint=spec.fingerprint, part=part, role="motion", dim=spec.dim) for part in spec.parts]
    text = Space(fingerprint=spec.fingerprint, part="whole", role="text", dim=spec.dim, rows_of="captions")
    return [*wholes, *parts, text]


def encoder_card(spec: EncoderSpec) -> dict[str, Any]:
    """What a library remembers of its encoder."""
    return {
        "name": spec.name,
        "fingerprint": spec.fingerprint,
        "dim": spec.dim,
        "parts": list(spec.parts),
        "features": spec.features,
        "fps": spec.fps,
        "provenance": dict(spec.provenance),
    }


def spec_of_card(card: Mapping[str, Any]) -> EncoderSpec:
    """The spec that :func:`encoder_card` was made from."""
    return EncoderSpec(
        name=str(card["name"]), dim=int(card["dim"]), parts=tuple(card["parts"]), features=str(card["features"]),
        fps=float(card["fps"]), fingerprint=str(card["fingerprint"]), provenance=dict(card["provenance"]),
    )  # fmt: skip


def check_encoder(snapshot: Snapshot, spec: EncoderSpec, path: Path) -> None:
    """Refuse to mix vectors of two encoders.

    Raises:
        EncoderMismatch: with both names and what to do.
    """
    card = snapshot.encoder
    if card.get("fingerprint") != spec.fingerprint:
        raise EncoderMismatch(
            f"{path}: holds vectors of encoder {card.get('name')!r} ({str(card.get('fingerprint'))[:12]}), not of "
            f"{spec.name!r} ({spec.fingerprint[:12]}); use --encoder with that one, or index into a new --library"
        )


class Target:
    """A library that exists, or will when there is something to commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library: Library | None = None
        _check_writable(path)
        if Library.exists(path) or path.exists():
            if path.is_dir() and not any(path.iterdir()):
                return  # an empty folder may become a library
            self._library = Library.open(path)

    def snapshot(self) -> Snapshot | None:
        """The newest version, None while there is no library."""
        return self._library.snapshot() if self._library else None

    @property
    def version(self) -> int:
        """The newest version, 0 while there is no library."""
        return self._library.latest if self._library else 0

    def library(self, spec_of: Callable[[], EncoderSpec]) -> Library:
        """The library, created now for vectors of the encoder that ``spec_of`` tells if it was not there."""
        if self._library is None:
            spec = spec_of()
            self._library = Library.create(self.path, spaces=spaces_of(spec), encoder=encoder_card(spec))
        return self._library


def _check_writable(path: Path) -> None:
    """Raise IndexingError when ``path`` can be seen not to be writable, before any work is done."""
    at = path.absolute()
    while not at.exists() and at != at.parent:
        at = at.parent
    if at != path.absolute() and not at.is_dir():
        raise IndexingError(f"{path}: {at} is a file, not a folder; give another --library")
    if at.is_dir() and not os.access(at, os.W_OK | os.X_OK):
        raise IndexingError(f"{path}: {at} is read-only; change its rights or give another --library")
