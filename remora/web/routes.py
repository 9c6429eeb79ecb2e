"""Routes of the library and of questions to it; and, last, the files of the page."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from motion import SKELETONS
from remora.asking import LONGEST_TEXT
from remora.cli.search import parse_weights
from remora.web.answers import (
    CaptionsAnswer,
    ChangedAnswer,
    ClassifyAnswer,
    ClipAnswer,
    ClipsAnswer,
    CompareAnswer,
    FacetsAnswer,
    HealthAnswer,
    LibraryAnswer,
    MapAnswer,
    MomentsAnswer,
    SearchAnswer,
    VersionsAnswer,
    WaitAnswer,
)
from remora.web.asked import Classify, FindMoments, Save, Search
from remora.web.clips import clip_answer, clip_answers, page_of_clips
from remora.web.desk import Desk, desk_of
from remora.web.export import EXPORT_FORMATS
from remora.web.facets import facets
from remora.web.metrics import TEXT_TYPE
from remora.web.pages import page_reply
from remora.web.reply import reply
from remora.web.settings import MAX_K, MAX_OFFSET
from remora.web.studio import condition, holds
from remora.web.uploads import UPLOAD_FORMATS

router = APIRouter()
pages = APIRouter(include_in_schema=False)
Where = Annotated[str | None, Query(max_length=10_000, description="Only clips that fit, as --where of remora search.")]
Page = Annotated[int, Query(ge=0, le=MAX_OFFSET, description="How many to pass over.")]
Count = Annotated[int, Query(ge=1, le=MAX_K, description="How many at most.")]


@router.get("/healthz", response_model=HealthAnswer, tags=["studio"])
async def health(request: Request) -> Response:
    """Whether the studio answers, and what of it is ready."""
    desk = desk_of(request)
    engine = desk.studio.current
    status = "no library" if engine is None else "library gone" if desk.studio.trouble else "ok"
    state = HealthAnswer(status, desk.studio.models, engine.snapshot.version if engine else None)
    return reply(request, state, cache="no-store")


@router.get("/metrics", tags=["studio"], response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Counters for Prometheus."""
    desk = desk_of(request)
    engine = desk.studio.current
    desk.metrics.ready.set(desk.studio.models.encoder == "ready")
    desk.metrics.clips.set(len(engine.snapshot) if engine else 0)
    desk.metrics.version.set(engine.snapshot.version if engine else -1)
    desk.metrics.streams.set(desk.hub.open)
    for gate in desk.gates:
        desk.metrics.inside.labels(gate.name).set(gate.inside)
    return Response(desk.metrics.text(), media_type=TEXT_TYPE, headers={"cache-control": "no-store"})


@router.get("/api/library", response_model=LibraryAnswer, tags=["library"])
async def library(request: Request) -> Response:
    """What the library holds and what this studio can do."""
    desk = desk_of(request)
    return await desk.answer(request, desk.looks, lambda: library_answer(desk))


def library_answer(desk: Desk) -> LibraryAnswer:
    """The library without its place on this machine, and the studio's limits."""
    from remora import __version__

    studio, settings = desk.studio, desk.settings
    info, examples = studio.info()
    limits = {
        "k": MAX_K, "offset": MAX_OFFSET, "upload_bytes": settings.upload_bytes, "upload_frames": settings.upload_frames,
        "export_clips": settings.export_clips, "text": LONGEST_TEXT,
    }  # fmt: skip
    features = {
        "generate": studio.models.generator != "absent", "save": not settings.read_only, "feedback": True, "moments": True,
    }  # fmt: skip
    known = {key: info.encoder.get(key) for key in ("name", "dim", "fingerprint")}
    return LibraryAnswer(
        name=settings.library.resolve().name, uuid=info.uuid, version=info.version, clips=info.clips,
        captions=info.captions, hours=info.hours, sources=info.sources, splits=info.splits, encoder=known,
        parts=tuple(info.encoder.get("parts", ())), examples=examples, models=studio.models,
        generator_note=studio.generator_note, read_only=settings.read_only,
        watching=settings.watch.resolve().name if settings.watch else None, mcp=settings.mcp,
        export_formats=EXPORT_FORMATS, upload_formats=UPLOAD_FORMATS, limits=limits, features=features,
        remora=__version__,
    )  # fmt: skip


@router.get("/api/facets", response_model=FacetsAnswer, tags=["library"])
async def columns(request: Request, where: Where = None) -> Response:
    """The library's columns with counts."""
    desk = desk_of(request)
    return await desk.answer(
        request, desk.looks, lambda: facets(desk.studio.engine.snapshot, condition(where))
    )  # fmt: skip


@router.get("/api/versions", response_model=VersionsAnswer, tags=["library"])
async def versions(request: Request) -> Response:
    """The versions of the library, newest first."""
    desk = desk_of(request)

    def listed() -> VersionsAnswer:
        found = desk.studio.engine.library.versions()
        return VersionsAnswer(tuple(reversed(found)))

    return await desk.answer(request, desk.looks, listed)


@router.get("/api/map", response_model=MapAnswer, responses={202: {"model": WaitAnswer}}, tags=["library"])
async def whole_map(request: Request) -> Response:
    """A point for every clip: clips that move alike lie together. Drawn once a version; 202 until it is."""
    desk = desk_of(request)

    def drawn() -> Response:
        found = desk.studio.map()
        if isinstance(found, MapAnswer):
            return reply(request, found)
        return reply(
            request, WaitAnswer(found, "computing"), status=202, cache="no-store", headers={"retry-after": "1"}
        )

    return await desk.looks.run(drawn)


@router.get("/api/skeletons", tags=["library"], response_model=dict[str, dict[str, object]])
async def skeletons(request: Request) -> Response:
    """Joints, parents, body parts and mirror pairs of the skeletons that frames come in."""
    known = {
        name: {"names": one.names, "parents": one.parents, "parts": dict(one.parts), "mirror": one.mirror}
        for name, one in SKELETONS.items()
    }
    return reply(request, known)


@router.get("/api/clips", response_model=ClipsAnswer, tags=["library"])
async def clips(request: Request, where: Where = None, offset: Page = 0, limit: Count = 50) -> Response:
    """Clips that fit a filter, in the library's order."""
    desk = desk_of(request)
    return await desk.answer(
        request, desk.looks,
        lambda: page_of_clips(desk.studio.engine.snapshot, condition(where), offset, limit),
    )  # fmt: skip


@router.get("/api/clips/{clip:path}", response_model=ClipAnswer, tags=["library"])
async def clip(request: Request, clip: str) -> Response:
    """What is known of a clip, an upload or a result."""
    desk = desk_of(request)

    def found() -> ClipAnswer:
        engine = desk.studio.engine
        if holds(engine.snapshot, clip):
            return clip_answers(engine.snapshot, [clip])[0]
        return clip_answer(desk.studio.clip(clip, engine), engine.snapshot.version)

    return await desk.answer(request, desk.looks, found)


@router.post("/api/clips", status_code=201, response_model=ClipAnswer, tags=["changes"])
async def keep(request: Request, asked: Save) -> Response:
    """Add an upload or a result to the library; not in read-only mode."""
    desk = desk_of(request)
    return await desk.answer(request, desk.chores, lambda: desk.studio.keep(asked), status=201, cache="no-store")


@router.delete("/api/clips/{clip:path}", response_model=ChangedAnswer, tags=["changes"])
async def remove(request: Request, clip: str) -> Response:
    """Delete a clip from the library: older versions keep it; not in read-only mode."""
    desk = desk_of(request)
    return await desk.answer(request, desk.chores, lambda: desk.studio.remove(clip), cache="no-store")


@router.post("/api/search", response_model=SearchAnswer, tags=["questions"])
async def search(request: Request, asked: Search) -> Response:
    """Clips that fit a sentence or a motion best."""
    desk = desk_of(request)
    return await desk.answer(request, desk.questions, lambda: desk.studio.search(asked))


@router.get("/api/search", response_model=SearchAnswer, tags=["questions"])
async def search_by_link(
    request: Request,
    text: Annotated[str | None, Query(max_length=20_000)] = None,
    clip: Annotated[str | None, Query(max_length=1000)] = None,
    part: Annotated[list[Annotated[str, Query(max_length=40)]], Query(max_length=12)] = [],  # noqa: B006
    weights: Annotated[str | None, Query(max_length=400, description="left_arm=2,right_arm=1")] = None,
    k: Count = 24,
    offset: Page = 0,
    where: Where = None,
) -> Response:
    """The same for links: the answer is kept by browsers until the library changes."""
    desk = desk_of(request)

    def found() -> SearchAnswer:
        asked = Search(text=text, clip=clip or None, parts=part, k=k, offset=offset, where=where)
        return desk.studio.search(asked.model_copy(update={"weights": parse_weights(weights)}))

    return await desk.answer(request, desk.questions, found)


@router.get("/api/compare", response_model=CompareAnswer, tags=["questions"])
async def compare(
    request: Request, a: Annotated[str, Query(max_length=1000)], b: Annotated[str, Query(max_length=1000)]
) -> Response:
    """How alike two clips are, as a whole and part by part."""
    desk = desk_of(request)
    return await desk.answer(request, desk.questions, lambda: desk.studio.compare(a, b))


@router.get("/api/describe/{clip:path}", response_model=CaptionsAnswer, tags=["questions"])
async def describe(request: Request, clip: str, k: Count = 10) -> Response:
    """Captions of the library that fit a motion best."""
    desk = desk_of(request)
    return await desk.answer(request, desk.questions, lambda: desk.studio.describe(clip, k))


@router.post("/api/moments", response_model=MomentsAnswer, tags=["questions"])
async def moments(request: Request, asked: FindMoments) -> Response:
    """When a sentence happens: seconds inside a clip, or in the clips of the library that fit it best."""
    desk = desk_of(request)
    return await desk.answer(request, desk.moments, lambda: desk.studio.moments(asked))


@router.post("/api/classify", response_model=ClassifyAnswer, tags=["questions"])
async def classify(request: Request, asked: Classify) -> Response:
    """Which of some labels fits a motion."""
    desk = desk_of(request)
    return await desk.answer(request, desk.questions, lambda: desk.studio.classify(asked))


@pages.get("/{name:path}")
async def page(request: Request, name: str) -> Response:
    """A file of the page."""
    return page_reply(request, name)
