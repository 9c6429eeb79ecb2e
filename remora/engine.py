"""One library, one encoder, one generator: index, search, classify, generate. The only place where the rooms meet.

- The encoder is loaded when the first vector is needed (seconds), the library when the first row is (milliseconds).
  What can be wrong with a question is found before, and a clip of the library needs no encoder at all.
- A library remembers its encoder's name: nobody has to repeat it, and another encoder is refused, not mixed in.
- An engine answers from one snapshot until it indexes or is told to ``refresh``: answers do not change under a reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remora.asking import StoredVectors, clean_text, read_clip
from remora.errors import RemoraError
from remora.info import LibraryInfo, library_info
from remora.threads import search_threads

if TYPE_CHECKING:
    from db import Filter, Library, Snapshot
    from encoders import DualEncoder
    from generator import Edit, Edited, ExemplarClip, Generated, Generator, Prompt, Sampling
    from indexer import IndexReport
    from motion import Clip
    from retriever import CaptionHits, Classification, Hits, Moments, Query
    from retriever.query import Mirror


class Engine:
    """Questions to, and changes of, the library in folder ``library``.

    Args:
        library: the folder; :meth:`index` creates it.
        encoder: an encoder, its name, or the folder of a trained one; by default the one the library was made with.
        generator: a generator, the shipped one's name, or the folder of a trained one.
        device: where encoder and generator run: auto, cpu, cuda or cuda:N.
        at: an old version to answer from, by number or tag; by default the newest.
    """

    def __init__(
        self,
        library: Path | str,
        *,
        encoder: DualEncoder | str | Path | None = None,
        generator: Generator | str | Path | None = None,
        device: str = "auto",
        at: int | str | None = None,
    ) -> None:
        self.path = Path(library)
        self._at = at
        self._wanted = encoder
        self._wanted_generator = generator
        self._device = device
        self._snapshot: Snapshot | None = None

    def __repr__(self) -> str:
        return f"Engine({str(self.path)!r})"

    @cached_property
    def encoder(self) -> DualEncoder:
        """The encoder, loaded on first use."""
        from encoders import available_encoders, load_encoder

        wanted = self._wanted
        if wanted is not None and not isinstance(wanted, str | Path):
            return wanted
        if wanted is None and self.exists():
            card_name = str(self.snapshot.encoder.get("name", ""))
            wanted = card_name if card_name in available_encoders() else None
        return load_encoder(wanted, device=self._device)

    def exists(self) -> bool:
        """Whether there is a library in the folder."""
        from db import Library

        return Library.exists(self.path)

    @property
    def library(self) -> Library:
        """The library itself; LibraryError when there is none."""
        from db import Library

        return Library.open(self.path)

    @property
    def snapshot(self) -> Snapshot:
        """The version that answers are given from."""
        if self._snapshot is None:
            self._snapshot = self.library.snapshot(self._at)
            if self._device != "cpu":
                from remora.torch_search import WORTH_ROWS, scanner_for

                if self._device != "auto" or len(self._snapshot) >= WORTH_ROWS:
                    self._snapshot.searcher.use_scanner(scanner_for(self._device, len(self._snapshot))[0])
        return self._snapshot

    def refresh(self) -> None:
        """Answer from the newest version from here on."""
        self._snapshot = None

    def index(self, *sources: Path | str, **options: Any) -> IndexReport:
        """Bring the library up to date with ``sources``; options and errors as in :func:`indexer.index`."""
        from indexer import index

        if self._at is not None:
            raise RemoraError(f"this is version {self._at}, which does not change; index into {self.path} as it is now")
        try:
            encoder = self.encoder if self._wanted is not None else lambda: self.encoder
            report = index(sources, self.path, encoder=encoder, **options)
            if self.exists():
                self.library.rebuild_indexes()  # where it was tuned, and has outgrown its index
            return report
        finally:
            self.refresh()

    def keep(self, clip: Clip, *, name: str) -> str:
        """Add a motion to the library as ``kept/<name>``; its id. Errors as in :func:`indexer.keep`."""
        from indexer import keep

        try:
            return keep(clip, self.path, encoder=self.encoder, name=name)
        finally:
            self.refresh()

    def remove(self, clip_ids: Sequence[str]) -> int:
        """Delete clips from the library, unknown ones are ignored; the version that is the newest now."""
        try:
            with self.library.begin(note=f"remove: {len(clip_ids)} clips") as transaction:
                transaction.delete(ids=clip_ids)
                return transaction.commit().version
        finally:
            self.refresh()

    def search(
        self,
        text: str | None = None,
        *,
        motion: Clip | Path | str | None = None,
        clip_id: str | None = None,
        parts: Sequence[str] = (),
        weights: Mapping[str, float] | None = None,
        k: int = 10,
        where: str | Filter | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        mirror: Mirror = "",
        score: str = "whole",
        words: float | None = None,
        rerank: int | None = None,
    ) -> Hits:
        """The ``k`` clips that fit a sentence, a motion or a clip of the library best; by ``parts`` only, where given.

        A sentence beside a motion or a clip says how it should differ ("but with raised arms"); ``words``, 0 to 1, is the
        sentence's share (default :data:`retriever.query.WORDS`).

        ``like`` and ``unlike`` are clips of the library the question is moved towards and away from (``like`` alone
        is a question, too); ``mirror`` "only" asks for the mirror image, "also" for either side; ``score`` is one of
        :data:`retriever.SCORES`; those that look closer do it among the ``rerank`` best by the whole body (1,000, events 100).

        Raises:
            RemoraError: neither text, motion, clip_id nor ``like`` is given, or both a motion and a clip.
            RetrievalError: a part, weight or score is unknown, the query is empty.  LibraryError: ``where`` cannot be
                read.
        """
        from retriever import score_named, search

        if mirror and clip_id is not None:
            motion, clip_id = self.clip(clip_id), None
        snapshot, query = self.snapshot, self._query(text, motion, clip_id, parts, weights, like, unlike, mirror, words)
        way = score_named(score, query.part_weights, rerank=rerank, reader=self)
        way.check(tuple(snapshot.encoder.get("parts", ())), query.text)
        self._check(query, where)
        search_threads(1)
        return search(snapshot, self._encoder_for(query), query, k=k, where=where, score=way)

    def search_batch(self, texts: Sequence[str], *, k: int = 10, where: str | Filter | None = None) -> list[Hits]:
        """The ``k`` best clips for each of many sentences, embedded and searched together.

        Raises:
            RemoraError: a sentence is empty.  LibraryError: ``where`` cannot be read.
        """
        from indexer import check_encoder
        from retriever import search_batch

        cleaned = [clean_text(text) for text in texts]
        check_encoder(self.snapshot, self.encoder.spec, self.path)
        return search_batch(self.snapshot, self.encoder, cleaned, k=k, where=where)

    def describe(
        self, *, motion: Clip | Path | str | None = None, clip_id: str | None = None, k: int = 10
    ) -> CaptionHits:
        """The ``k`` captions of the library that fit a motion best."""
        from retriever import describe

        snapshot, query = self.snapshot, self._query(None, motion, clip_id, (), None)
        self._check(query, None)
        search_threads(1)
        return describe(snapshot, self._encoder_for(query), query, k=k)

    def localize(
        self,
        text: str,
        *,
        motion: Clip | Path | str | None = None,
        clip_id: str | None = None,
        k: int = 10,
        where: str | None = None,
    ) -> list[Moments]:
        """The seconds at which a sentence happens: in a motion, in a clip of the library, or in the clips that fit it best.

        Seconds are those of the take. In one motion ``k`` moments are looked for, in the library one in each of ``k`` clips;
        of clips that overlap in their take the better moment is kept.

        Raises:
            RemoraError: the text has no word, or both a motion and a clip are given.
        """
        from retriever import localize, separate_takes

        text = clean_text(text)
        if motion is not None and clip_id is not None:
            raise RemoraError("look inside one thing: a motion, or a clip of the library")
        if motion is not None:
            return [localize(self.encoder, read_clip(motion), text, k=k)]
        hits = () if clip_id is not None else self.search(text, k=k, where=where)
        encoder = self._encoder_for(self._query(text, None, None, (), None))
        if clip_id is not None:
            clip = self.clip(clip_id)
            return [localize(encoder, clip, text, k=k, offset_s=clip.source.start_s)]
        clips = [self.clip(hit.clip_id) for hit in hits]
        found = [localize(encoder, clip, text, k=1, offset_s=clip.source.start_s) for clip in clips]
        return separate_takes(found, [(clip.source.dataset, clip.source.take) for clip in clips])

    def classify(
        self,
        motions: Sequence[Clip | Path | str],
        labels: Sequence[str],
        *,
        template: str | Sequence[str] | None = None,
        none: bool = False,
        calibration: Path | None = None,
    ) -> list[Classification]:
        """How well each of ``labels`` ("walk|stroll": with a synonym) fits each motion; needs no library.

        ``none`` also offers "none of these"; ``calibration`` is a file of ``remora evaluate classification``.
        """
        from retriever import calibration_of, classify

        fitted = calibration_of(self.encoder.spec.fingerprint, calibration)
        clips = [read_clip(motion) for motion in motions]
        return classify(self.encoder, clips, labels, template=template, none=none, calibration=fitted)

    @cached_property
    def generator(self) -> Generator:
        """The generator, loaded on first use."""
        from generator import load_generator

        wanted = self._wanted_generator
        if wanted is not None and not isinstance(wanted, str | Path):
            return wanted
        return load_generator(wanted, device=self._device)

    def with_generator(self, generator: Generator) -> Engine:
        """An engine that answers from the same snapshot with the same encoder, and makes motion with ``generator``."""
        twin = copy(self)
        twin._wanted_generator = generator
        vars(twin).pop("generator", None)
        return twin

    def exemplars(
        self, text: str, *, k: int = 2, parts: Sequence[str] = (), where: str | None = None
    ) -> tuple[ExemplarClip, ...]:
        """The ``k`` best clips of different takes for a sentence, as the generator reads them, for some parts only if
        asked.

        Raises:
            RemoraError: the library holds no clip to learn from.
        """
        from generator import ExemplarClip

        hits = self.search(text, k=4 * k, where=where)
        found: list[ExemplarClip] = []
        takes = set()
        for hit in hits:
            clip = self.clip(hit.clip_id)
            take = (clip.source.dataset, clip.source.take)
            if take not in takes:
                takes.add(take)
                found.append(ExemplarClip(clip, hit.score, (hit.captions or ("",))[0], tuple(parts)))
        if not found and where:
            raise RemoraError(
                f"no clip of {self.path} is one where {where}; loosen the condition, or use --no-retrieval"
            )
        if not found:
            raise RemoraError(f"{self.path} has no clip to learn from; index motion first, or use --no-retrieval")
        return tuple(found[:k])

    def generate(
        self, prompts: Sequence[Prompt], *, sampling: Sampling | None = None, candidates: int = 1, progress: Any = None
    ) -> Iterator[Generated]:
        """New motions for ``prompts`` (which carry their exemplars, see :meth:`exemplars`), in their order.

        Of several ``candidates`` a prompt the encoder keeps the best, see :mod:`remora.candidates`.
        """
        from generator import Sampling
        from remora.candidates import best_of

        sampling = sampling or Sampling()
        if candidates == 1:
            return self.generator.generate(prompts, sampling=sampling, progress=progress)
        return best_of(self.generator, self.encoder, prompts, candidates, sampling=sampling, progress=progress)

    def edit(self, motion: Clip | Path | str, what: Edit, **options: Any) -> Edited:
        """A motion with a range or some parts of it made anew; options and errors as in :func:`generator.edit`."""
        from generator import edit

        return edit(self.generator, read_clip(motion), what, **options)

    def clip(self, clip_id: str) -> Clip:
        """A clip of the library with its frames and captions."""
        from indexer import clip_of_row

        rows = self.snapshot.rows([clip_id])
        captions = self.snapshot.captions([clip_id])
        return clip_of_row(rows.to_pylist()[0], captions.to_pylist(), self.snapshot.frames(clip_id))

    def export(self, clip_id: str, to: Path | str) -> None:
        """Write a clip of the library to a file; the suffix decides the format."""
        from motion import write

        write(self.clip(clip_id), to)

    def info(self) -> LibraryInfo:
        """What the library holds."""
        return library_info(self.path, self.library.uuid, self.snapshot)

    def _check(self, query: Query, where: str | Filter | None) -> None:
        """Say what is wrong with a question before seconds go into loading an encoder."""
        from db import parse_filter

        query.weight_of_parts(tuple(self.snapshot.encoder.get("parts", ())))
        if isinstance(where, str):
            parse_filter(where)
        named = [*query.like, *query.unlike, *([] if query.clip_id is None else [query.clip_id])]
        if named:
            self.snapshot.rows(named, ["clip_id"])

    def _encoder_for(self, query: Query) -> DualEncoder:
        """The encoder, once it is known to be the library's; none is loaded for a clip whose vectors are stored."""
        from indexer import check_encoder, spec_of_card

        if query.text is None and query.clip is None and self._wanted is None:
            return StoredVectors(spec_of_card(self.snapshot.encoder))
        check_encoder(self.snapshot, self.encoder.spec, self.path)
        return self.encoder

    def _query(
        self,
        text: str | None,
        motion: Clip | Path | str | None,
        clip_id: str | None,
        parts: Sequence[str],
        weights: Mapping[str, float] | None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        mirror: Mirror = "",
        words: float | None = None,
    ) -> Query:
        from retriever import Query
        from retriever.query import WORDS

        if motion is not None and clip_id is not None:
            raise RemoraError("ask about one motion: a file, or a clip of the library")
        if all(value is None for value in (text, motion, clip_id)) and not like:
            raise RemoraError("ask with a text, a motion, or a clip of the library")
        if words is not None and (text is None or (motion is None and clip_id is None)):
            raise RemoraError(
                "the share of the words is for a text beside a motion or a clip; give both, or leave it out"
            )
        clip = None if motion is None else read_clip(motion)
        text = None if text is None else clean_text(text)
        return Query(
            text=text, clip=clip, clip_id=clip_id, parts=tuple(parts), weights=dict(weights or {}),
            like=tuple(like), unlike=tuple(unlike), mirror=mirror, words=WORDS if words is None else words,
        )  # fmt: skip
