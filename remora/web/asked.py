"""What a studio is asked: checked models. Everything that a request can hold is bounded here: lengths, counts, ranges."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from remora.candidates import DEFAULT_CANDIDATES
from remora.web.settings import MAX_EXAMPLES, MAX_K, MAX_LABELS, MAX_OFFSET, MAX_TEXT, MAX_WITHIN

ClipId = Annotated[str, Field(min_length=1, max_length=1000, examples=["upload:0a1b2c3d"])]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Condition = Annotated[str, Field(max_length=10_000, examples=["duration_s < 4"])]
Part = Annotated[str, Field(max_length=40)]
Seconds = Annotated[float, Field(ge=0, le=36_000, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Scale = Annotated[float, Field(ge=-10, le=20, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Asked(BaseModel):
    """A request: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class Search(Asked):
    """A question: at least one of text, clip and more_like."""

    text: Text | None = None
    clip: ClipId | None = None
    parts: Annotated[list[Part], Field(max_length=12)] = []
    weights: Annotated[dict[Part, Weight], Field(max_length=12)] = {}
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 24
    offset: Annotated[int, Field(ge=0, le=MAX_OFFSET)] = 0
    where: Condition | None = None
    within: Annotated[list[ClipId], Field(max_length=MAX_WITHIN)] | None = None
    more_like: Annotated[list[ClipId], Field(max_length=MAX_EXAMPLES)] = []
    less_like: Annotated[list[ClipId], Field(max_length=MAX_EXAMPLES)] = []


class Classify(Asked):
    """Which of some labels fits a clip."""

    clip: ClipId
    labels: Annotated[list[Annotated[str, Field(max_length=500)]], Field(min_length=2, max_length=MAX_LABELS)]
    template: Annotated[str, Field(max_length=500)] | None = None


class FindMoments(Asked):
    """When a sentence happens: inside a clip, or in the clips of the library that fit it best."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    clip: ClipId | None = None
    k: Annotated[int, Field(ge=1, le=20)] = 3
    where: Condition | None = None


class Export(Asked):
    """Clips to be packed into one archive."""

    clips: Annotated[list[ClipId], Field(min_length=1, max_length=1000)]
    formats: Annotated[list[Annotated[str, Field(max_length=8)]], Field(min_length=1, max_length=8)] = ["bvh"]


class Save(Asked):
    """An uploaded or generated motion to be kept in the library."""

    clip: ClipId
    name: Annotated[str, Field(min_length=1, max_length=200)]
    caption: Annotated[str, Field(max_length=2000)] = ""


class Draw(Asked):
    """How a generator draws; what is left out is its default."""

    seed: Seed | None = None
    text_scale: Scale | None = None
    retrieval_scale: Scale | None = None
    schedule: Literal["constant", "linear", "late"] = "constant"
    steps: Annotated[int, Field(ge=1, le=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None
    neighbours: Annotated[int, Field(ge=0, le=8)] = 2
    exemplars: Annotated[list[ClipId], Field(max_length=8)] | None = None
    where: Condition | None = None


class Generate(Draw):
    """A new motion from a sentence and exemplars."""

    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    seconds: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)] | None = None
    candidates: Annotated[int, Field(ge=1, le=8)] = (
        DEFAULT_CANDIDATES  # are made, and the one that fits the words best is kept
    )


class EditMotion(Draw):
    """A range, some parts or a continuation of a motion, made anew."""

    clip: ClipId
    text: Text = ""
    start_s: Seconds | None = None
    end_s: Seconds | None = None
    parts: Annotated[list[Part], Field(max_length=6)] = []
    before_s: Seconds = 0.0
    after_s: Seconds = 0.0
    loop_s: Seconds = 0.0
