"""Routes of new motion: jobs, their progress, their end; and the news of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from remora.web.answers import JobAnswer, JobsAnswer
from remora.web.asked import EditMotion, Generate
from remora.web.desk import Desk, desk_of
from remora.web.hub import event_bytes
from remora.web.jobs import Kind, Work
from remora.web.making import edition, generation
from remora.web.reply import reply

router = APIRouter(tags=["jobs"])
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


@router.post("/api/jobs/generate", status_code=202, response_model=JobAnswer)
async def generate(request: Request, asked: Generate) -> Response:
    """Make a new motion from a sentence and the clips that fit it best."""
    desk = desk_of(request)
    return await _submit(request, desk, "generate", asked, lambda: generation(desk.studio, asked))


@router.post("/api/jobs/edit", status_code=202, response_model=JobAnswer)
async def edit(request: Request, asked: EditMotion) -> Response:
    """Make a range, some parts or a continuation of a motion anew."""
    desk = desk_of(request)
    return await _submit(request, desk, "edit", asked, lambda: edition(desk.studio, asked))


async def _submit(
    request: Request, desk: Desk, kind: Kind, asked: Generate | EditMotion, prepare: Callable[[], Work]
) -> Response:
    work = await desk.questions.run(prepare)
    return reply(request, desk.jobs.submit(kind, asked.model_dump(), work), status=202, cache="no-store")


@router.get("/api/jobs", response_model=JobsAnswer)
async def jobs(request: Request) -> Response:
    """All jobs that are remembered, newest first."""
    return reply(request, JobsAnswer(desk_of(request).jobs.all()), cache="no-store")


@router.get("/api/jobs/{job_id}", response_model=JobAnswer)
async def job(request: Request, job_id: str) -> Response:
    """Where a job stands."""
    return reply(request, desk_of(request).jobs.answer(job_id), cache="no-store")


@router.delete("/api/jobs/{job_id}", response_model=JobAnswer)
async def cancel(request: Request, job_id: str) -> Response:
    """End a job before it begins, or at its next step."""
    return reply(request, desk_of(request).jobs.cancel(job_id), cache="no-store")


@router.get("/api/jobs/{job_id}/events", response_class=Response, responses=EVENTS)
async def job_events(request: Request, job_id: str) -> Response:
    """A job's progress as it happens, from how it stands now to its end."""
    desk = desk_of(request)
    desk.jobs.answer(job_id)
    listener = desk.hub.listen(f"job {job_id}")
    now = desk.jobs.answer(job_id)  # after the place is taken: what changes from here on is heard
    over = now.state in ("done", "failed", "cancelled")
    return desk.hub.stream(listener, event_bytes("job", now), end=over)


@router.get("/api/events", response_class=Response, responses=EVENTS, tags=["library"])
async def events(request: Request) -> Response:
    """News of the library: new versions, models that are ready, what the watched folder brings."""
    desk = desk_of(request)
    listener = desk.hub.listen("library")
    return desk.hub.stream(listener, event_bytes("models", desk.studio.models))
