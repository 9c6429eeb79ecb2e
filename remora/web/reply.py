"""How an answer leaves: JSON or bytes, compressed as the client likes it, with an ETag that spares sending it twice."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import fields, is_dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from remora.web.errors import StudioError

WORTH_PACKING = 1024  # bytes
JSON_TYPE = "application/json"
BYTES_TYPE = "application/octet-stream"


def plain(value: Any) -> Any:
    """A value of JSON for dataclasses, their own ``to_json`` where they have one."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def to_json(value: Any) -> bytes:
    """JSON as bytes; numbers that are none are refused."""
    return json.dumps(value, default=plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def packed(body: bytes, accepted: str) -> tuple[bytes, str]:
    """``body`` in the best coding that is accepted, and the coding's name (empty: as it is)."""
    wanted = {piece.partition(";")[0].strip().lower() for piece in accepted.split(",")}
    if len(body) < WORTH_PACKING:
        return body, ""
    if "zstd" in wanted:
        import pyarrow as pa

        return pa.compress(body, codec="zstd", asbytes=True), "zstd"
    if "gzip" in wanted:
        work = zlib.compressobj(5, zlib.DEFLATED, 31)
        return work.compress(body) + work.flush(), "gzip"
    return body, ""


def reply(
    request: Request,
    value: Any,
    *,
    status: int = 200,
    media_type: str = JSON_TYPE,
    cache: str = "no-cache",
    key: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    """An answer: ``value`` is bytes, or a dataclass; ``key`` stands for its content where hashing it can be spared."""
    body = value if isinstance(value, bytes) else to_json(value)
    own = {"cache-control": cache, "vary": "Accept-Encoding, Cookie", **(headers or {})}
    if request.method in ("GET", "HEAD") and status == 200:
        tag = etag(key or hashlib.blake2b(body, digest_size=12).hexdigest())
        own["etag"] = tag
        if matches(request, tag):
            return Response(status_code=304, headers=own)
    body, coding = packed(body, request.headers.get("accept-encoding", ""))
    if coding:
        own["content-encoding"] = coding
    return Response(body, status_code=status, media_type=media_type, headers=own)


def etag(key: str) -> str:
    """The tag of a key: weak, as the bytes differ by coding."""
    return f'W/"{key}"'


def matches(request: Request, tag: str) -> bool:
    """Whether the client has this answer already."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag.removeprefix("W/") in (
        piece.strip().removeprefix("W/") for piece in known.split(",")
    )  # fmt: skip


def error_reply(error: StudioError) -> Response:
    """An error as an answer."""
    headers = {"cache-control": "no-store"} | ({"retry-after": str(error.retry_s)} if error.retry_s else {})
    body = to_json({"error": str(error), "code": error.code})
    return Response(body, status_code=error.status, media_type=JSON_TYPE, headers=headers)
