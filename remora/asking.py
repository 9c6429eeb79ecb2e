"""What an engine is asked with: a sentence that can be embedded, the one motion of a file, how to draw new motion, vectors that
are stored already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from remora.errors import RemoraError

if TYPE_CHECKING:
    from encoders import Embeddings, EncoderSpec
    from generator import Sampling
    from motion import Clip

LONGEST_TEXT = 2000  # characters; sentence encoders read some 60 to 250 words


@dataclass(frozen=True)
class StoredVectors:
    """Stands for the encoder of a library where all vectors are in the library already; can embed nothing."""

    spec: EncoderSpec

    def encode_motion(self, clips: Sequence[Clip]) -> Embeddings:
        """Never called; RemoraError if it is."""
        raise RemoraError(f"no encoder is loaded to embed {len(clips)} clips; ask an engine with an encoder")

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Never called; RemoraError if it is."""
        raise RemoraError(f"no encoder is loaded to embed {len(texts)} sentences; ask an engine with an encoder")


def clean_text(text: str) -> str:
    """A sentence that can be embedded, its blanks joined.

    Raises:
        RemoraError: the text is empty, has no letter or digit (only emoji, only punctuation), or is longer than
            :data:`LONGEST_TEXT` characters: the encoder would not read most of it.
    """
    joined = " ".join(text.split())
    if not joined:
        raise RemoraError("the query is empty; say what to look for, e.g. 'a person waves'")
    if not any(character.isalnum() for character in joined):
        raise RemoraError(f"the query {joined[:40]!r} has no word in it; say in words what to look for")
    if len(joined) > LONGEST_TEXT:
        raise RemoraError(
            f"the query {joined[:20]!r}... has {len(joined.split())} words and {len(joined)} characters, "
            f"more than {LONGEST_TEXT}; say it in a sentence or two"
        )
    return joined


def read_clip(motion: Clip | Path | str, *, joint_map: Path | None = None) -> Clip:
    """``motion`` itself, or the one clip of a file.

    Raises:
        MotionError: the file cannot be read.
        RemoraError: the file holds several clips.
    """
    from motion import Clip, MotionError, read

    if isinstance(motion, Clip):
        return motion
    try:
        clips = read(motion, joint_map=joint_map)
    except MotionError as error:
        if Path(motion).name in str(error):
            raise
        raise type(error)(f"{motion}: {error}") from error
    if len(clips) != 1:
        raise RemoraError(f"{motion}: holds {len(clips)} clips, expected one; index the file and ask by clip id")
    return clips[0]


def sampling_of(
    *,
    text_scale: float | None = None,
    retrieval_scale: float | None = None,
    schedule: str | None = None,
    steps: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    remask: bool | None = None,
    draft: float | None = None,
) -> Sampling:
    """The default sampling with what was asked for changed."""
    from generator import Guidance, Sampling

    scales = {"text_scale": text_scale, "retrieval_scale": retrieval_scale, "schedule": schedule}
    draws = {
        "steps": steps, "temperature": temperature, "top_k": top_k, "top_p": top_p, "remask": remask, "draft": draft,
    }  # fmt: skip
    guidance = replace(Guidance(), **{k: v for k, v in scales.items() if v is not None})  # type: ignore[arg-type]
    return replace(Sampling(), guidance=guidance, **{k: v for k, v in draws.items() if v is not None})  # type: ignore[arg-type]
