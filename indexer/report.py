"""What an indexing run did, to print or to keep: counts of clips, takes gone or rejected and why, seconds a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Progress = Callable[[str, int, int], None]  # (stage, takes done, takes in all); called from the thread that indexes


@dataclass(frozen=True)
class Rejected:
    """A take that could not be indexed: its file (or place in the source), and why."""

    path: str
    reason: str

    def __str__(self) -> str:
        name = self.path.rpartition("/")[2]
        return self.reason if name in self.reason else f"{self.path}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class IndexReport:
    """The outcome of :func:`indexer.index`. Counts are of clips, ``missing`` and ``rejected`` of takes.

    ``missing`` names takes that the library has and the source no longer: still in the library, or counted in
    ``removed`` when they were pruned. ``uncaptioned`` names takes that changed and thereby lost what an earlier caption
    file said of them. ``seconds`` maps the stages list, load, read, embed and commit to wall time.
    """

    library: str
    version: int
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0
    missing: tuple[str, ...] = ()
    uncaptioned: tuple[str, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()  # path, kind, dataset and number of takes of each source
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def indexed(self) -> int:
        """Clips that were embedded and written in this run."""
        return self.added + self.replaced

    def __repr__(self) -> str:
        return (
            f"IndexReport(version {self.version}, {self.added} added, {self.replaced} replaced, "
            f"{self.unchanged} unchanged, {self.removed} removed, {len(self.missing)} takes missing, "
            f"{len(self.rejected)} rejected)"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for :func:`json.dumps`."""
        return asdict(self)
