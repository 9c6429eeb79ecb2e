"""The main job in miniature: invent motions, index them, ask by words, by motion, by body part, and name one.

- Motions are written as BVH with a caption file beside them and indexed like anybody's folder: no special case.
- The motion that is asked about is not in the library (another seed): its neighbours are found, not itself.
- Run again, it indexes nothing new and answers the same: the motions come from a fixed seed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from remora.engine import Engine

if TYPE_CHECKING:
    from indexer import IndexReport
    from motion import Clip
    from retriever import Classification, Hits

SEED = 20
TEXT = "someone kicks with the right foot"
QUESTION = "wave_right_hand"  # by the whole body one hand waves; by the right arm alone, both hands waving fit too
PART = "right_arm"
TEMPLATE = "a person {}"


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo found, and the files it wrote into ``folder``."""

    folder: Path
    library: Path
    indexed: IndexReport
    question: Clip  # the motion that was asked about; its file is ``question.bvh``
    by_text: Hits
    by_motion: Hits
    by_part: Hits
    named: Classification
    files: tuple[Path, ...]


def run_demo(
    folder: Path,
    *,
    clips: int = 300,
    engine: Engine | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> DemoReport:
    """Run all of it in ``folder``; ``progress`` is called with (stage, done, total)."""
    from motion import write
    from motion.synth import synthesise

    move = progress or (lambda stage, done, total: None)
    folder.mkdir(parents=True, exist_ok=True)
    engine = engine or Engine(folder / "library")
    gallery = synthesise(clips, seed=SEED)
    others = synthesise(100, seed=SEED + 1)
    question = next((clip for clip in others if clip.labels["class_id"] == QUESTION), others[0])
    source = write_folder(gallery, folder / "motions", move)
    write(question, folder / "question.bvh")
    report = engine.index(source, captions=source / "captions.csv", progress=move)
    move("ask", 0, 1)
    by_text = engine.search(TEXT, k=5)
    by_motion = engine.search(motion=folder / "question.bvh", k=5)
    by_part = engine.search(motion=folder / "question.bvh", parts=(PART,), k=5)
    named = engine.classify([folder / "question.bvh"], labels_of(gallery), template=TEMPLATE)[0]
    files = _write_pictures(engine, by_text, folder)
    return DemoReport(
        folder=folder, library=engine.path, indexed=report, question=question, by_text=by_text, by_motion=by_motion,
        by_part=by_part, named=named, files=files,
    )  # fmt: skip


def write_folder(clips: Sequence[Clip], folder: Path, move: Callable[[str, int, int], None]) -> Path:
    """Clips as BVH files with ``captions.csv``; files that are there already are left alone."""
    from motion import write

    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip in enumerate(clips):
        path = folder / f"{number:04d}.bvh"
        if not path.exists():
            write(clip, path)
        rows += [(path.name, caption.text) for caption in clip.captions]
        move("write motions", number + 1, len(clips))
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("clip", "caption"), *rows])
    return folder


def labels_of(clips: Sequence[Clip]) -> list[str]:
    """The class sentences of clips that do one thing, without their common beginning, in order."""
    texts = sorted({clip.labels["class_text"] for clip in clips if ", then " not in clip.labels["class_text"]})
    return [text.removeprefix("a person ") for text in texts]


def _write_pictures(engine: Engine, hits: Hits, folder: Path) -> tuple[Path, ...]:
    from remora.pictures import draw_hits

    files = (folder / "hits.png", folder / "best.glb", folder / "best.bvh")
    draw_hits(engine, hits, files[0])
    for path in files[1:]:
        engine.export(next(iter(hits)).clip_id, path)
    return files
