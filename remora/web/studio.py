"""The studio itself, without HTTP: a library that many ask at once, with one model in memory.

- Every request takes the engine of the moment once and answers from that version, whatever is committed meanwhile.
- A new version is opened and warmed beside the old one, then takes its place: no request waits for it.
- The encoder is loaded by a thread of its own; clips, frames, filters and "like this clip" answer before it is there.
- A clip is one of the library, an upload or a result, by its name; all questions take any of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import And, Filter, In, Library, LibraryError, LibraryNotFound, Snapshot, parse_filter
from indexer import spec_of_card
from motion import Caption, Clip, MotionError
from remora.asking import clean_text
from remora.engine import Engine
from remora.errors import RemoraError
from remora.info import LibraryInfo
from remora.web.answers import (
    ChangedAnswer,
    ClipAnswer,
    ClipMoments,
    CompareAnswer,
    MapAnswer,
    ModelsAnswer,
    MomentsAnswer,
    SearchAnswer,
)
from remora.web.asked import Classify, FindMoments, Save, Search
from remora.web.batching import SharedEncoder
from remora.web.clips import clip_answers
from remora.web.errors import StudioError, not_found, without_paths
from remora.web.maps import draw_map
from remora.web.moments import WindowShelf
from remora.web.settings import Settings
from remora.web.shelf import Shelf
from retriever import CaptionHits, Classification, Hits, localize

if TYPE_CHECKING:
    from generator import Generator
    from indexer import IndexReport

Tell = Callable[[str, Any], None]  # told of (event, data), from any thread
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, are spread evenly however many there are
FOLLOW_S = 1.0  # seconds between two looks for a new version


class Studio:
    """A library, its models, and what was uploaded and made."""

    def __init__(self, settings: Settings, *, tell: Tell, batch_seen: Callable[[int], None]) -> None:
        self.settings = settings
        self.uploads, self.results = Shelf("upload", settings.kept), Shelf("result", settings.kept)
        self.stopping = threading.Event()
        self.tell = tell
        self._batch_seen = batch_seen
        self._library: Library | None = None
        self._engine: Engine | None = None
        self._encoder: SharedEncoder | None = None
        self._info: tuple[int, LibraryInfo, tuple[str, ...]] | None = None
        self._generator_state, self._generator_note = "idle", ""
        self._generator: Generator | None = None
        self._generator_lock = threading.Lock()
        self._map: tuple[int, MapAnswer | None] | None = None
        self._windows = WindowShelf(settings.kept, settings.moments_seconds)
        self._opening = threading.Lock()
        self._why = ""

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the library, and load the models and follow new versions in the background."""
        self.look()
        if self._engine is not None:
            self.info()  # what a page asks first, before the models take the processor
        for name, work in (("load", self._load), ("follow", self._follow)):
            threading.Thread(target=work, daemon=True, name=f"studio-{name}").start()

    def stop(self) -> None:
        """Let the threads end."""
        self.stopping.set()

    def look(self) -> None:
        """Take up the newest version, if there is one that is not served yet; what stands in the way is remembered."""
        with self._opening:
            try:
                library = Library.open(self.settings.library)
                if self._library is not None and self._library.uuid == library.uuid:
                    library = self._library  # it knows its newest version: looking again is listing one folder
                self._library, snapshot, served = library, library.snapshot(), self._engine
                if served is not None and _same(served.snapshot, snapshot):
                    self._why = ""
                    return
                if self._encoder is None:
                    self._encoder = SharedEncoder(spec_of_card(snapshot.encoder), seen=self._batch_seen)
                engine = Engine(self.settings.library, encoder=self._encoder, device=self.settings.device)
                warm(engine)
                self._engine, self._why = engine, ""
            except (LibraryError, MotionError, OSError) as error:
                watched = self.settings.watch
                if isinstance(error, LibraryNotFound) and watched is not None and self._engine is None:
                    self._why = (
                        f"there is no library yet; it begins with the first motion that is put into {watched.name}"
                    )
                else:
                    self._why = without_paths(str(error))
                return
        if served is not None:
            self.tell("version", {"version": engine.snapshot.version, "clips": len(engine.snapshot)})

    def _follow(self) -> None:
        while not self.stopping.wait(FOLLOW_S):
            self.look()

    def _load(self) -> None:
        """Load the encoder, warm; say so. Where there is no library yet, one of this encoder will be made."""
        encoder = self._encoder
        try:
            model = Engine(self.settings.library, encoder=self.settings.encoder, device=self.settings.device).encoder
            with self._opening:
                encoder = self._encoder = self._encoder or SharedEncoder(model.spec, seen=self._batch_seen)
            if model.spec.fingerprint != encoder.spec.fingerprint:
                raise RemoraError(
                    f"the library was made with encoder {encoder.spec.name!r}, not with {model.spec.name!r}; "
                    "start the studio with the library's own --encoder"
                )
            model.encode_text(["a person walks"])
            self.look_for_generator()  # imports for seconds: before questions come, not beside them
            encoder.ready(model)
        except Exception as error:
            why = without_paths(str(error)) or type(error).__name__
            if encoder is None:
                self._why = why
            else:
                encoder.failed(why)
        self.tell("models", self.models)

    # ---- what there is ---------------------------------------------------------------------------------------------

    @property
    def current(self) -> Engine | None:
        """The engine of the newest version, None while there is none."""
        return self._engine

    @property
    def engine(self) -> Engine:
        """The engine of the newest version; StudioError while there is none."""
        if self._engine is None:
            raise StudioError(503, "library", self._why or "the library is being opened; ask again", retry_s=1)
        return self._engine

    @property
    def trouble(self) -> str:
        """What stands between the studio and the library on the disk; empty where nothing does."""
        return self._why

    @property
    def models(self) -> ModelsAnswer:
        """The state of the models."""
        return ModelsAnswer(self._encoder.state if self._encoder else "loading", self._generator_state)

    @property
    def generator_note(self) -> str:
        """Why there is no generator, and what to do; empty where there is one."""
        return self._generator_note

    def look_for_generator(self) -> None:
        """Find out whether there are weights to generate with, without loading them."""
        from generator import GeneratorError
        from generator.model import generator_folder

        try:
            generator_folder(self.settings.generator)
        except GeneratorError as error:
            self._generator_state = "absent"
            self._generator_note = f"{without_paths(str(error))}; train one with: make train"
            return
        if self._generator_state == "absent":
            self._generator_state, self._generator_note = "idle", ""

    def making_engine(self) -> Engine:
        """The engine of the moment with the generator, which is loaded with the first job and stays."""
        from generator import load_generator

        with self._generator_lock:
            if self._generator is None:
                self._generator_is("loading")
                try:
                    self._generator = load_generator(self.settings.generator, device=self.settings.device)
                except Exception as error:
                    self._generator_is("failed", without_paths(str(error)))
                    raise
                self._generator_is("ready")
        return self.engine.with_generator(self._generator)

    def _generator_is(self, state: str, note: str = "") -> None:
        self._generator_state, self._generator_note = state, note
        self.tell("models", self.models)

    def info(self) -> tuple[LibraryInfo, tuple[str, ...]]:
        """What the library holds, and some of its captions to begin with; counted once a version."""
        engine = self.engine
        known = self._info
        if known is None or known[0] != engine.snapshot.version:
            known = (engine.snapshot.version, engine.info(), examples(engine.snapshot))
            self._info = known
        return known[1], known[2]

    def map(self) -> MapAnswer | int:
        """The map of the newest version, or the version that it is being drawn of."""
        engine = self.engine
        version = engine.snapshot.version
        if self._map is None or self._map[0] != version:
            self._map = (version, None)
            threading.Thread(target=self._draw_map, args=(engine,), daemon=True, name="studio-map").start()
        drawn = self._map[1]
        return version if drawn is None else drawn

    def _draw_map(self, engine: Engine) -> None:
        drawn = draw_map(engine.snapshot)
        if self._map is not None and self._map[0] == drawn.version:
            self._map = (drawn.version, drawn)

    def clip(self, clip_id: str, engine: Engine | None = None) -> Clip:
        """The clip of that name, wherever it lies; StudioError 404 when there is none."""
        for shelf in (self.uploads, self.results):
            if shelf.holds(clip_id):
                found = shelf.get(clip_id)
                if found is None:
                    raise not_found(clip_id)
                return found
        engine = engine or self.engine
        if not holds(engine.snapshot, clip_id):
            raise not_found(clip_id)
        return engine.clip(clip_id)

    # ---- changes ---------------------------------------------------------------------------------------------------

    def can_index(self) -> bool:
        """Whether clips can be embedded."""
        return self._encoder is not None and self._encoder.state == "ready"

    def index(self, source: Path, *, batch_clips: int) -> IndexReport:
        """Bring the library up to date with ``source`` and serve what came of it."""
        report = self._writer().index(source, batch_clips=batch_clips)
        self.look()
        return report

    def keep(self, asked: Save) -> ClipAnswer:
        """Add an upload or a result to the library."""
        self._check_writable()
        engine = self.engine
        if holds(engine.snapshot, asked.clip):
            raise StudioError(409, "conflict", "this clip is in the library already; keep an upload or a result")
        clip = self.clip(asked.clip, engine)
        if asked.caption.strip():
            clip = replace(clip, captions=(Caption(clean_text(asked.caption)),))
        clip_id = self._writer().keep(clip, name=asked.name)
        self.look()
        return clip_answers(self.engine.snapshot, [clip_id])[0]

    def remove(self, clip_id: str) -> ChangedAnswer:
        """Delete a clip from the library."""
        self._check_writable()
        engine = self.engine
        if not holds(engine.snapshot, clip_id):
            raise not_found(clip_id)
        version = self._writer().remove([clip_id])
        self.look()
        return ChangedAnswer(version)

    def _writer(self) -> Engine:
        """An engine of its own for a change: the one that serves keeps its version until the next is warm."""
        return Engine(self.settings.library, encoder=self._encoder)

    def _check_writable(self) -> None:
        if self.settings.read_only:
            raise StudioError(
                403, "read_only", "this studio was started with --read-only; start it without to change things"
            )

    # ---- questions -------------------------------------------------------------------------------------------------

    def search(self, asked: Search) -> SearchAnswer:
        """One page of the hits of a question."""
        engine = self.engine
        if asked.text is None and asked.clip is None and not asked.more_like:
            raise StudioError(422, "request", "ask for something: give text, clip or more_like")
        notes = []
        if asked.text is not None:
            words, used = len(asked.text.split()), len(clean_text(asked.text).split())
            if used < words:
                notes.append(f"the query has {words} words; only the first {used} are used")
        where = condition(asked.where, asked.within)
        hits = self._hits(engine, asked, where)
        stop = asked.offset + asked.k
        matching = int(hits.plan.get("rows", len(hits)))
        return SearchAnswer(
            query=hits.query, hits=hits.hits[asked.offset : stop], library_version=hits.library_version, plan=hits.plan,
            offset=asked.offset, next=stop if stop < matching else None, matching=matching, notes=tuple(notes),
        )  # fmt: skip

    def _hits(self, engine: Engine, asked: Search, where: Filter | None) -> Hits:
        ask: dict[str, Any] = {"text": asked.text}
        if asked.clip is not None:
            ask |= self._motion(engine, asked.clip)
        for one in (*asked.more_like, *asked.less_like):
            if not holds(engine.snapshot, one):
                raise not_found(one)
        return engine.search(
            **ask, parts=asked.parts, weights=asked.weights, k=asked.offset + asked.k, where=where,
            like=asked.more_like, unlike=asked.less_like,
        )  # fmt: skip

    def _motion(self, engine: Engine, clip_id: str) -> dict[str, Any]:
        """A clip as an engine is asked: by its id where its vectors are stored."""
        if holds(engine.snapshot, clip_id):
            return {"clip_id": clip_id}
        return {"motion": self.clip(clip_id, engine)}

    def moments(self, asked: FindMoments) -> MomentsAnswer:
        """When a sentence happens: in a clip, or in the ``k`` clips of the library that fit it best."""
        engine, text = self.engine, clean_text(asked.text)
        if asked.clip is None:
            found = engine.localize(text, k=asked.k, where=asked.where)
            return MomentsAnswer(text, tuple(ClipMoments.of(one) for one in found))
        if asked.where is not None:
            raise StudioError(422, "request", "where chooses among the library's clips; give it or a clip, not both")
        clip = self.clip(asked.clip, engine)
        windows = self._windows.of(engine, clip)
        inside = localize(engine.encoder, windows, text, k=asked.k, offset_s=clip.source.start_s)
        return MomentsAnswer(text, (ClipMoments.of(inside),))

    def describe(self, clip_id: str, k: int) -> CaptionHits:
        """Captions of the library that fit a motion."""
        engine = self.engine
        return engine.describe(**self._motion(engine, clip_id), k=k)

    def classify(self, asked: Classify) -> Classification:
        """How well labels fit a clip."""
        (found,) = self.engine.classify([self.clip(asked.clip)], asked.labels, template=asked.template)
        return replace(found, clip=asked.clip)

    def compare(self, a: str, b: str) -> CompareAnswer:
        """How alike two clips are, as a whole and part by part."""
        engine = self.engine
        left, right = (self._vectors(engine, clip_id) for clip_id in (a, b))
        scores = {name: round(float(left[name] @ right[name]), 6) for name in left}
        return CompareAnswer(a, b, scores.pop("whole"), scores)

    def _vectors(self, engine: Engine, clip_id: str) -> dict[str, Any]:
        parts = engine.encoder.spec.parts
        if holds(engine.snapshot, clip_id):
            spaces = {name: f"motion/{name}" for name in ("whole", *parts)}
            return {name: engine.snapshot.vectors([clip_id], space)[0] for name, space in spaces.items()}
        made = engine.encoder.encode_motion([self.clip(clip_id, engine)])
        return {"whole": made.whole[0]} | {name: made.parts[0, i] for i, name in enumerate(parts)}


def condition(where: str | None, within: Sequence[str] | None = None) -> Filter | None:
    """A filter from a condition in SQL and from ids to keep; FilterError when it cannot be read."""
    terms: list[Filter] = []
    if where is not None and where.strip():
        terms.append(parse_filter(where))
    if within is not None:
        terms.append(In("clip_id", tuple(within)))
    return terms[0] if len(terms) == 1 else And(tuple(terms)) if terms else None


def _same(served: Snapshot, found: Snapshot) -> bool:
    """Whether two snapshots are the same version of the same library."""
    return served.version == found.version and served.manifest.library == found.manifest.library


def holds(snapshot: Snapshot, clip_id: str) -> bool:
    """Whether a version has a clip of that id."""
    return bool(snapshot.row_index.find([clip_id])[0] >= 0)


def warm(engine: Engine) -> None:
    """Read what the first question would wait for: ids, vectors, the search index."""
    snapshot = engine.snapshot
    if len(snapshot):
        engine.search(clip_id=snapshot.ids()[0], k=1)


def examples(snapshot: Snapshot, most: int = 12) -> tuple[str, ...]:
    """Captions of the library that begin differently, to ask for first; neighbours in the list come from far apart in it."""
    ids = snapshot.ids()
    found: dict[str, str] = {}
    for number in range(min(len(ids), 8 * most)):
        clip_id = ids[int(number * GOLDEN % 1 * len(ids))]
        for text in snapshot.captions([clip_id])["text"].to_pylist()[:1]:
            words = text.split()
            if 3 <= len(words) <= 9:
                found.setdefault(" ".join(words[:3]), text)
        if len(found) == most:
            break
    return tuple(found.values())
