"""The files of the page, from the folder ``static`` beside this module and nowhere else.

- All of them are read once: a name that is not in the folder cannot be asked for, however it is written.
- Files below ``assets/`` have the hash of their content in their name and may be kept for good; the others are asked for again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from remora.web.errors import StudioError
from remora.web.reply import reply

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8", ".html": "text/html; charset=utf-8", ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json", ".woff2": "font/woff2",
}  # fmt: skip
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class PageFile:
    """A file of the page."""

    body: bytes
    media_type: str
    cache: str
    key: str


@lru_cache(maxsize=4)
def page_files(folder: Path = STATIC) -> dict[str, PageFile]:
    """All files of the page by their place."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and path.suffix in TYPES and not path.is_symlink():
            name = path.relative_to(folder).as_posix()
            body = path.read_bytes()
            cache = FOR_GOOD if name.startswith("assets/") else "no-cache"
            found[name] = PageFile(body, TYPES[path.suffix], cache, hashlib.blake2b(body, digest_size=12).hexdigest())
    return found


def page_reply(request: Request, name: str) -> Response:
    """The file of that place; StudioError 404 when there is none."""
    known = page_files()
    file = known.get(name or "index.html")
    if file is None:
        if not known:
            raise StudioError(
                404, "not_found", "this studio was installed without its page; the API is at /api/openapi.json"
            )
        raise StudioError(404, "not_found", f"there is no page {name[:80]!r} here; begin at /")
    return reply(request, file.body, media_type=file.media_type, cache=file.cache, key=file.key)
