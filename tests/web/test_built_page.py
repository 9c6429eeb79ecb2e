"""The page that is shipped is the page that is written: built files against their source, by hash, without Node."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

from tests.house.source import REPOSITORY

SOURCE = REPOSITORY / "remora" / "web" / "page"
STATIC = REPOSITORY / "remora" / "web" / "static"
BUILT = "built.json"  # written by build.mjs
SCRIPT_KB = 600  # of JavaScript, compressed


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder by its place."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "node_modules" not in path.relative_to(folder).parts
    }


def stale(source: Path, static: Path) -> list[str]:
    """What differs from what the build has noted."""
    noted = json.loads((static / BUILT).read_text(encoding="utf-8"))
    found = {"sources": hashes(source), "files": hashes(static)}
    found["files"].pop(BUILT)
    return [
        name
        for kind in ("sources", "files")
        for name in sorted(noted[kind].keys() | found[kind].keys())
        if noted[kind].get(name) != found[kind].get(name)
    ]


def test_built_files_are_those_of_their_source() -> None:
    assert stale(SOURCE, STATIC) == [], "build the page anew: cd remora/web/page && npm ci && npm run build"


def test_an_edited_file_is_seen(tmp_path: Path) -> None:
    page, static = tmp_path / "page", tmp_path / "static"
    page.mkdir()
    static.mkdir()
    (page / "a.ts").write_text("1")
    (static / "a.js").write_text("1")
    noted = {"sources": hashes(page), "files": hashes(static)}
    (static / BUILT).write_text(json.dumps(noted))
    assert stale(page, static) == []
    (page / "a.ts").write_text("2")
    (static / "b.js").write_text("2")
    assert stale(page, static) == ["a.ts", "b.js"]


def test_the_page_is_small_and_asks_nobody_else() -> None:
    scripts = list(STATIC.rglob("*.js"))
    assert sum(len(gzip.compress(script.read_bytes())) for script in scripts) < SCRIPT_KB * 1000
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert named and all((STATIC / name).is_file() for name in named)
    assert "style=" not in page and not re.search(r"<script(?![^>]*src=)", page)
    for style in STATIC.rglob("*.css"):
        assert not re.search(r"url\(\"?https?:", style.read_text(encoding="utf-8"))
