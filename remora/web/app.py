"""The studio as an ASGI application: its routes, its errors, its beginning and its end."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db import LibraryError
from encoders import EncoderError
from generator import GeneratorError
from indexer import IndexingError
from motion import MotionError
from remora.errors import RemoraError
from remora.web import mcp, routes, routes_jobs, routes_motion
from remora.web.answers import ErrorAnswer
from remora.web.desk import Desk
from remora.web.errors import StudioError, as_studio_error
from remora.web.guard import Guard
from remora.web.reply import error_reply
from remora.web.settings import Settings
from remora.web.watch import watch
from retriever import RetrievalError

ROOM_ERRORS = (
    RemoraError,
    LibraryError,
    RetrievalError,
    MotionError,
    EncoderError,
    IndexingError,
    GeneratorError,
    OSError,
)
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 401, 403, 404, 405, 408, 413, 415, 421, 422, 429, 503)
}
CODES = {400: "request", 408: "request", 413: "too_large", 415: "media_type"}


def create_app(settings: Settings) -> FastAPI:
    """The application of one library; its threads start and end with it."""
    from remora import __version__

    desk = Desk.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        desk.studio.start()
        if settings.watch is not None:
            threading.Thread(target=watch, args=(desk.studio, settings.watch), daemon=True, name="studio-watch").start()
        yield
        desk.studio.stop()
        desk.jobs.close()
        for gate in desk.gates:
            gate.close()

    app = FastAPI(
        title="Remora studio", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/api/openapi.json", responses=ERRORS, redirect_slashes=False,
        description="A library of human motion: search it, look at it, take motion from it, make new motion.",
    )  # fmt: skip
    app.state.desk = desk
    app.include_router(routes.router)
    app.include_router(routes_motion.router)
    app.include_router(routes_jobs.router)
    app.include_router(mcp.router)
    app.include_router(routes.pages)  # last: the page's files take every name that is left
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in ROOM_ERRORS:
        app.add_exception_handler(kind, _of_a_room)
    app.add_middleware(Guard, settings=settings, metrics=desk.metrics)
    return app


def _of_a_room(request: Request, error: Exception) -> Response:
    known = as_studio_error(error)
    if known is None:
        raise error
    return error_reply(known)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(piece) for piece in first["loc"][1:]) or str(first["loc"][0])
    value = "" if first["type"] in ("missing", "json_invalid") else f", not {str(first.get('input'))[:60]!r}"
    return error_reply(StudioError(422, "request", f"{place[:80]}: {first['msg']}{value}; see /api/openapi.json"))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    place = request.url.path[:200]
    if error.status_code == 404:
        return error_reply(StudioError(404, "not_found", f"there is no {place!r} here; see /api/openapi.json"))
    if error.status_code == 405:
        answer = error_reply(
            StudioError(405, "method", f"{request.method} is not for {place!r}; see /api/openapi.json")
        )
        answer.headers["allow"] = (error.headers or {}).get("allow", "GET")
        return answer
    code = CODES.get(error.status_code, "request")
    return error_reply(StudioError(error.status_code, code, str(error.detail)[:500]))
