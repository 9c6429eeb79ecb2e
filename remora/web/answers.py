"""What a studio answers: plain dataclasses.

Hits, captions, moments and classifications have the fields that the command line prints with ``--json``; a search adds its
page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from db import VersionInfo
from retriever import CaptionHit, Hits, Moment, Moments


@dataclass(frozen=True)
class ErrorAnswer:
    """What went wrong: a sentence for people, a code for programs."""

    error: str
    code: str


@dataclass(frozen=True)
class CaptionAnswer:
    """One sentence about a clip; both times 0: about all of it."""

    text: str
    start_s: float
    end_s: float
    kind: str


@dataclass(frozen=True)
class ClipAnswer:
    """What is known of a clip, without its frames."""

    clip_id: str
    source: str
    take: str
    start_s: float
    end_s: float
    duration_s: float
    fps: float
    n_frames: int
    skeleton: str
    subject: str
    split: str
    licence: str
    origin: str
    mirrored: bool
    labels: Mapping[str, str]
    captions: tuple[CaptionAnswer, ...]
    version: int


@dataclass(frozen=True)
class ClipsAnswer:
    """A page of the library's clips."""

    version: int
    total: int
    offset: int
    items: tuple[ClipAnswer, ...]
    next: int | None


@dataclass(frozen=True)
class SearchAnswer(Hits):
    """The hits that ``remora search --json`` prints, and where this page of them ends."""

    offset: int = 0
    next: int | None = None
    matching: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The hits, and their page."""
        page = {"offset": self.offset, "next": self.next, "matching": self.matching, "notes": list(self.notes)}
        return super().to_json() | page


@dataclass(frozen=True)
class CompareAnswer:
    """How alike two clips are: cosines of the whole body and of each part."""

    a: str
    b: str
    whole: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class CaptionsAnswer:
    """What ``remora search --to text --json`` prints."""

    query: str
    library_version: int
    captions: tuple[CaptionHit, ...]


@dataclass(frozen=True)
class LabelAnswer:
    """A label with its cosine, and its share among the labels given."""

    label: str
    score: float
    probability: float


@dataclass(frozen=True)
class ClassifyAnswer:
    """Labels, best first."""

    clip: str
    best: str
    labels: tuple[LabelAnswer, ...]


@dataclass(frozen=True)
class ClipMoments:
    """Seconds of a clip's take at which a sentence fits best, and the curve: ``scores`` at ``times``."""

    clip: str
    text: str
    moments: tuple[Moment, ...]
    times: tuple[float, ...]
    scores: tuple[float, ...]

    @classmethod
    def of(cls, found: Moments) -> ClipMoments:
        """Moments as they are sent."""
        times, scores = found.times.round(3).tolist(), found.scores.round(6).tolist()
        return cls(found.clip, found.text, found.moments, tuple(times), tuple(scores))


@dataclass(frozen=True)
class MomentsAnswer:
    """What ``remora search --localize --json`` prints."""

    query: str
    moments: tuple[ClipMoments, ...]


@dataclass(frozen=True)
class ModelsAnswer:
    """State of the models: loading, ready, failed; a generator may be idle or absent."""

    encoder: str
    generator: str


@dataclass(frozen=True)
class LibraryAnswer:
    """The library, and what this studio can do with it."""

    name: str
    uuid: str
    version: int
    clips: int
    captions: int
    hours: float
    sources: Mapping[str, int]
    splits: Mapping[str, int]
    encoder: Mapping[str, Any]
    parts: tuple[str, ...]
    examples: tuple[str, ...]
    models: ModelsAnswer
    generator_note: str
    read_only: bool
    watching: str | None
    mcp: bool
    export_formats: tuple[str, ...]
    upload_formats: tuple[str, ...]
    limits: Mapping[str, int]
    features: Mapping[str, bool]
    remora: str


@dataclass(frozen=True)
class HealthAnswer:
    """Whether the studio answers, and from which version."""

    status: str
    models: ModelsAnswer
    version: int | None


@dataclass(frozen=True)
class VersionsAnswer:
    """The versions of the library, newest first."""

    versions: tuple[VersionInfo, ...]


@dataclass(frozen=True)
class Value:
    """A value of a column and how many clips have it."""

    value: str | bool
    count: int


@dataclass(frozen=True)
class Bin:
    """A range of a column and how many clips lie in it; the last one holds its upper end too."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Column:
    """A column of the library: values with counts, or a histogram where it is of numbers."""

    name: str
    kind: Literal["text", "number", "truth"]
    distinct: int
    empty: int
    values: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True)
class FacetsAnswer:
    """The columns of the clips that pass a filter."""

    version: int
    clips: int
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Codes:
    """A column of few values: ``codes`` count into ``values``, -1 where it is empty."""

    values: tuple[str, ...]
    codes: tuple[int, ...]


@dataclass(frozen=True)
class MapAnswer:
    """A point [-1, 1]² for every clip: clips that move alike lie together."""

    version: int
    method: str
    clip_ids: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    columns: Mapping[str, Codes]


@dataclass(frozen=True)
class WaitAnswer:
    """Not made yet; ask again."""

    version: int
    state: str


@dataclass(frozen=True)
class UploadAnswer:
    """A motion that was read, by which name to ask for it, and what its reader assumed."""

    clip: str
    name: str
    n_frames: int
    fps: float
    duration_s: float
    skeleton: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ChangedAnswer:
    """The version that a change made."""

    version: int


@dataclass(frozen=True)
class ExemplarAnswer:
    """A clip that a generation has learnt from."""

    clip_id: str
    score: float
    caption: str
    parts: tuple[str, ...]


@dataclass(frozen=True)
class EditedAnswer:
    """What of a motion was made anew, seconds of the new motion."""

    start_s: float
    end_s: float
    parts: tuple[str, ...]


@dataclass(frozen=True)
class ResultAnswer:
    """A generated motion and how it came about."""

    clip: str
    duration_s: float
    fps: float
    seed: int
    exemplars: tuple[ExemplarAnswer, ...]
    seconds_estimated: tuple[float, float, float] | None
    edited: EditedAnswer | None


@dataclass(frozen=True)
class JobAnswer:
    """A generation or an edit: where it stands, and what came of it."""

    job_id: str
    kind: Literal["generate", "edit"]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    stage: str
    done: int
    total: int
    position: int
    error: str
    request: Mapping[str, Any]
    result: ResultAnswer | None


@dataclass(frozen=True)
class JobsAnswer:
    """All jobs that are remembered, newest first."""

    jobs: tuple[JobAnswer, ...]
