"""Routes of motion itself: frames for a page, files to take away, files to bring."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from motion import Clip, resample
from remora.web.answers import UploadAnswer
from remora.web.asked import Export
from remora.web.desk import Desk, desk_of
from remora.web.errors import StudioError
from remora.web.export import ARCHIVE_FORMATS, archive, check_format, exported, file_name
from remora.web.frames import encode_frames
from remora.web.reply import BYTES_TYPE
from remora.web.uploads import read_upload, safe_name

router = APIRouter(tags=["motion"])
Rate = Annotated[float | None, Query(ge=1, le=240, description="Frames a second at most.")]
Second = Annotated[float | None, Query(ge=0, le=36_000, description="Seconds inside the clip.")]
BINARY: dict[int | str, dict[str, Any]] = {
    200: {"content": {BYTES_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/api/frames/{clip:path}", response_class=Response, responses=BINARY)
async def frames(request: Request, clip: str, fps: Rate = None) -> Response:
    """Frames of a clip, packed: at most 120 bytes each, off by a millimetre at most; the layout is in docs/studio.md."""
    desk = desk_of(request)
    cache = "private, max-age=3600" if clip.startswith(("upload:", "result:")) else "no-cache"
    return await desk.answer(
        request,
        desk.looks,
        lambda: encode_frames(slowed(desk.studio.clip(clip), fps)),
        media_type=BYTES_TYPE,
        cache=cache,
    )


def slowed(clip: Clip, fps: float | None) -> Clip:
    """A clip at ``fps`` frames a second where it has more."""
    if fps is None or clip.fps <= fps:
        return clip
    return replace(clip, joints=resample(clip.joints, clip.fps, fps), fps=fps)


@router.get("/api/export/{clip:path}", response_class=Response, responses=BINARY)
async def export(
    request: Request,
    clip: str,
    format: Annotated[str, Query(max_length=8)] = "bvh",
    start_s: Second = None,
    end_s: Second = None,
) -> Response:
    """A clip, or some seconds of it, as a file."""
    desk = desk_of(request)
    check_format(format)
    found = await desk.looks.run(lambda: span(desk.studio.clip(clip), start_s, end_s))
    headers = {"content-disposition": f'attachment; filename="{file_name(found)}.{format}"'}
    return await desk.answer(
        request, desk.chores, lambda: exported(found, format), media_type=BYTES_TYPE, headers=headers
    )


def span(clip: Clip, start_s: float | None, end_s: float | None) -> Clip:
    """The seconds ``start_s..end_s`` of a clip; StudioError 422 when there are none."""
    if start_s is None and end_s is None:
        return clip
    start, end = start_s or 0.0, clip.duration_s if end_s is None else end_s
    if not start < min(end, clip.duration_s):
        raise StudioError(
            422, "request", f"{start:g} to {end:g} s is no span of this clip of {clip.duration_s:.2f} s; correct it"
        )
    return clip.cut(start, end)


@router.post("/api/export", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
async def export_many(request: Request, asked: Export) -> Response:
    """Many clips in many formats, as one archive."""
    desk = desk_of(request)
    formats = tuple(dict.fromkeys(check_format(name, ARCHIVE_FORMATS) for name in asked.formats))
    ids = tuple(dict.fromkeys(asked.clips))
    most = desk.settings.export_clips
    if len(ids) > most:
        raise StudioError(
            422, "request", f"{len(ids)} clips are asked for, at most {most} go into one archive; ask twice"
        )
    headers = {"content-disposition": 'attachment; filename="motions.zip"'}
    return await desk.answer(
        request, desk.chores, lambda: _archive(desk, ids, formats), media_type="application/zip", headers=headers
    )


def _archive(desk: Desk, ids: Sequence[str], formats: Sequence[str]) -> bytes:
    engine = desk.studio.engine
    return archive((desk.studio.clip(one, engine) for one in ids), formats, engine.snapshot.version)


_BODY = {"requestBody": {"required": True, "content": {BYTES_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("/api/uploads", status_code=201, response_model=UploadAnswer, openapi_extra=_BODY)
async def upload(
    request: Request, name: Annotated[str, Query(min_length=1, max_length=500, description="The file's name.")]
) -> Response:
    """Bring a motion file to search by, compare or edit it; it stays in memory and is forgotten in time."""
    desk = desk_of(request)
    safe = safe_name(name)
    with tempfile.TemporaryDirectory(prefix="remora-") as folder:
        path = Path(folder) / safe
        with path.open("wb") as file:
            async for chunk in request.stream():
                file.write(chunk)
        return await desk.answer(request, desk.chores, lambda: _read(desk, path), status=201, cache="no-store")


def _read(desk: Desk, path: Path) -> UploadAnswer:
    settings = desk.settings
    clip = desk.studio.uploads.put(read_upload(path, frames=settings.upload_frames, seconds=settings.upload_seconds))
    notes = dict(clip.source.notes)
    return UploadAnswer(clip.clip_id, path.name, len(clip), clip.fps, clip.duration_s, clip.skeleton.name, notes)
