"""From sources to a new version of a library: read, cut, embed, commit, in batches of bounded size.

- Takes whose stamp the library knows are skipped unread. A take that was read but did not change in content keeps its
  vectors: only its stamp is renewed.
- Captions of an earlier caption file stay while their take does not change: a run need not name them again.
- All clips of a take are committed together, a version every :data:`COMMIT_CLIPS` clips: what a run was interrupted in
  stays at the last version, and the next run goes on from there.
- Memory holds one uncommitted version's clips and a short record a take, however many clips there are.
- A take that cannot be read is reported and passed over; what the library has of it stays.
- Takes are read one after the other: reading ahead in a thread gained 5 % (parsing holds the interpreter's lock, and
  embedding has the other core), which is not worth a queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import DualEncoder, EncoderSpec
from indexer.errors import NothingIndexed
from indexer.report import IndexReport, Progress, Rejected
from indexer.rows import StampedClip, caption_table, frame_block, row_table, with_ids
from indexer.sources import KnownTake, NamedSource, known_takes, missing_takes, open_sources, take_key
from indexer.spans import SpanRule, cut
from indexer.target import Target, check_encoder
from motion import Clip, MotionError, TakeRef

COMMIT_CLIPS = 1024
COMMIT_BYTES = 128 << 20  # of joints
NOTHING = KnownTake(stamp="", split="")
CAPTIONED = " captions "  # in a stamp, before the mark of what a caption file said
TEXTS_KEPT = 8192  # sentences whose vectors are remembered: class sentences repeat


def index(
    sources: Sequence[Path | str],
    library: Path | str,
    *,
    encoder: DualEncoder | Callable[[], DualEncoder],
    captions: Path | None = None,
    split: str | None = None,
    joint_map: Path | None = None,
    prune: bool = False,
    name: str | None = None,
    rule: SpanRule | None = None,
    batch_clips: int = 256,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring a library up to date with folders and files of motion.

    Args:
        sources: motion files, or folders of any layout :func:`motion.open_source` knows.
        library: folder of the library, created at the first commit.
        encoder: embeds clips and captions, or a function that loads what does, called when there is something to embed;
            a library holds vectors of one encoder only.
        captions: a file of captions for the takes of the sources.
        split: index only takes of this split.
        joint_map: JSON file for rigs with unknown joint names.
        prune: delete clips whose take is no longer in its source.
        name: what the sources are called in clip ids, instead of their folder's name.
        rule: how long takes are cut.
        batch_clips: clips embedded at once.
        progress: called with (stage, takes done, takes in all).

    Raises:
        MotionError: a source cannot be opened; nothing was written.
        IndexingError: the library has another encoder or cannot be written, names clash, or no take could be read.
        LibraryError: the library is damaged, of a newer format, or cannot be written.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "list"):
        opened = open_sources(
            [Path(source) for source in sources], captions=captions, split=split, joint_map=joint_map, name=name
        )
        target = Target(Path(library))
        snapshot = target.snapshot()
        known = known_takes(snapshot, opened)
    run = _Run(
        load=encoder, target=target, rule=rule or SpanRule(), batch_clips=batch_clips, known=known, seconds=seconds,
        total=sum(len(source) for source in opened), progress=progress,
    )  # fmt: skip
    if not callable(encoder):
        _ = run.encoder  # at hand: say at once if it is not the library's
    for source in opened:
        for key, ref in source.takes():
            run.take(source, key, ref)
    run.commit()
    gone = missing_takes(known, opened, split)
    if prune:
        run.prune(gone)
    if run.rejected and not (run.added or run.replaced or run.unchanged or known):
        first = str(run.rejected[0])
        raise NothingIndexed(
            f"none of {len(run.rejected)} takes could be indexed, the library is unchanged; first: {first}"
        )
    return IndexReport(
        library=str(library), version=target.version, added=run.added, replaced=run.replaced, unchanged=run.unchanged,
        removed=run.removed, missing=tuple(sorted(gone)), uncaptioned=tuple(run.uncaptioned), rejected=tuple(run.rejected),
        sources=tuple(_card(source) for source in opened), seconds={key: round(s, 3) for key, s in seconds.items()},
    )  # fmt: skip


def _card(source: NamedSource) -> Mapping[str, object]:
    return {
        "path": str(source.source.path), "kind": source.source.kind, "name": source.name, "takes": len(source)
    }  # fmt: skip


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - begin


@dataclass(kw_only=True)
class _Run:
    """The state of one indexing run: clips waiting to be committed, and what was done so far."""

    load: DualEncoder | Callable[[], DualEncoder]
    target: Target
    rule: SpanRule
    batch_clips: int
    known: Mapping[str, KnownTake]
    seconds: dict[str, float]
    total: int
    progress: Progress | None
    waiting: list[StampedClip] = field(default_factory=list)
    waiting_bytes: int = 0
    stale: list[str] = field(default_factory=list)  # ids of earlier spans of takes that are cut otherwise now
    texts: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    uncaptioned: list[str] = field(default_factory=list)
    done: int = 0
    added: int = 0
    replaced: int = 0
    unchanged: int = 0
    removed: int = 0

    @cached_property
    def encoder(self) -> DualEncoder:
        """The encoder, loaded at the first clip that has to be embedded.

        Raises:
            EncoderMismatch: the library holds vectors of another.
        """
        with _timed(self.seconds, "load"):
            encoder = self.load() if callable(self.load) else self.load
        if (snapshot := self.target.snapshot()) is not None:
            check_encoder(snapshot, encoder.spec, self.target.path)
        return encoder

    def take(self, source: NamedSource, key: str, ref: TakeRef) -> None:
        """Read one take unless the library has it as it is, and commit when enough is waiting."""
        stamp = f"{ref.stamp}:{self.rule.mark}" + (CAPTIONED + ref.caption_mark if ref.caption_mark else "")
        known = self.known.get(key)
        if known is not None and stamp in (known.stamp, known.stamp.partition(CAPTIONED)[0]):
            self.unchanged += len(known.ids)
        else:
            with _timed(self.seconds, "read"):
                spans = self._read(key, ref)
            if spans:
                self.waiting += [StampedClip(clip, stamp, str(source.folder)) for clip in spans]
                self.waiting_bytes += sum(clip.joints.nbytes for clip in spans)
                if known is not None:
                    if CAPTIONED in known.stamp and not ref.caption_mark:
                        self.uncaptioned.append(key)
                    self.stale += sorted(set(known.ids) - {clip.clip_id for clip in spans})
        self.done += 1
        if len(self.waiting) >= COMMIT_CLIPS or self.waiting_bytes >= COMMIT_BYTES:
            self.commit()
        if self.progress is not None:
            self.progress("index", self.done, self.total)

    def _read(self, key: str, ref: TakeRef) -> list[Clip]:
        """The spans of a take, with ids; empty, and noted down, when nothing of it can be used."""
        spans: list[Clip] = []
        try:
            for clip in ref.read():
                try:
                    spans += cut(clip, self.rule)
                except MotionError as error:
                    self.rejected.append(Rejected(key, str(error)))
        except MotionError as error:
            self.rejected.append(Rejected(key, str(error)))
        return with_ids(key, spans)

    def commit(self) -> None:
        """Embed what is waiting and write it as one version."""
        if not self.waiting and not self.stale:
            return
        clips = self.waiting
        vectors = self._vectors([item.clip for item in clips]) if clips else {}
        note = f"index: {len(clips)} clips" if clips else f"prune: {len(self.stale)} clips"
        with _timed(self.seconds, "commit"):
            library = self.target.library(lambda: self.encoder.spec)
            with library.begin(note=note) as transaction:
                if clips:
                    blocks = [frame_block(item.clip) for item in clips]
                    transaction.upsert(row_table(clips), caption_table(clips), vectors, blocks)
                if self.stale:
                    transaction.delete(ids=self.stale)
                report = transaction.commit()
        self.added += report.added
        self.replaced += report.replaced
        self.unchanged += report.unchanged
        self.removed += report.deleted
        self.waiting, self.waiting_bytes, self.stale = [], 0, []

    def prune(self, gone: Mapping[str, KnownTake]) -> None:
        """Delete the clips of takes that are gone, as one version."""
        self.stale = [clip_id for take in gone.values() for clip_id in take.ids]
        self.commit()

    def _vectors(self, clips: Sequence[Clip]) -> dict[str, NDArray[np.float32]]:
        """Unit vectors [N, D] of every space of the library: clips, their parts, and their captions in clip order."""
        encoder = self.encoder  # its loading is timed on its own
        with _timed(self.seconds, "embed"):
            return self._embedded(encoder.spec, clips)

    def _embedded(self, spec: EncoderSpec, clips: Sequence[Clip]) -> dict[str, NDArray[np.float32]]:
        vectors = {f"motion/{part}": np.zeros((len(clips), spec.dim), np.float32) for part in ("whole", *spec.parts)}
        vectors["text/whole"] = self._sentences([caption.text for clip in clips for caption in clip.captions])
        stored = self._stored(clips)
        snapshot = self.target.snapshot()
        if stored and snapshot is not None:
            for name in vectors.keys() - {"text/whole"}:
                vectors[name][stored] = snapshot.vectors([clips[row].clip_id for row in stored], name)
        new = sorted(set(range(len(clips))) - set(stored))
        for at in range(0, len(new), self.batch_clips):
            rows = new[at : at + self.batch_clips]
            found = self.encoder.encode_motion([clips[row] for row in rows])
            vectors["motion/whole"][rows] = found.whole
            for column, part in enumerate(spec.parts):
                vectors[f"motion/{part}"][rows] = found.parts[:, column]
        return vectors

    def _stored(self, clips: Sequence[Clip]) -> list[int]:
        """Which of ``clips`` the library has with the very same content, so that only their rows are to be renewed."""
        snapshot = self.target.snapshot()
        candidates = [
            row for row, clip in enumerate(clips) if clip.clip_id in self.known.get(take_key(clip.clip_id), NOTHING).ids
        ]
        if snapshot is None or not candidates:
            return []
        hashes = snapshot.rows([clips[row].clip_id for row in candidates], ["sha256"])["sha256"].to_pylist()
        return [row for row, stored in zip(candidates, hashes, strict=True) if stored == clips[row].content_hash()]

    def _sentences(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [N, D] of sentences; each different one is embedded once."""
        new = sorted(set(texts) - self.texts.keys())
        if len(self.texts) + len(new) > TEXTS_KEPT:
            self.texts, new = {}, sorted(set(texts))
        for at in range(0, len(new), self.batch_clips):
            batch = new[at : at + self.batch_clips]
            self.texts.update(zip(batch, self.encoder.encode_text(batch).whole, strict=True))
        out = np.zeros((len(texts), self.encoder.spec.dim), dtype=np.float32)
        for row, text in enumerate(texts):
            out[row] = self.texts[text]
        return out
