"""What changes underneath is taken up: new files in a watched folder, versions of others, a library that goes away."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from db import Library
from indexer import index
from remora.web import watch as watching
from tests.fakes import FakeEncoder, write_takes
from tests.web.conftest import Studio, ids, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow one another quickly."""
    monkeypatch.setattr(watching, "LOOK_S", 0.05)
    monkeypatch.setattr("remora.web.studio.FOLLOW_S", 0.05)


def test_new_files_appear_and_half_written_ones_wait(studio: Studio, tmp_path: Path) -> None:
    inbox = write_takes(tmp_path / "inbox", {"first jump.npy": 1.5})
    with studio(watch=inbox) as client:
        until(lambda: len(ids(client)) == 6)
        assert client.get("/api/library").json()["watching"] == "inbox"
        (inbox / "broken.npy").write_bytes(b"\x93NUMPY")
        write_takes(inbox, {"second hop.npy": 1.5}, seed=5)
        until(lambda: len(ids(client)) == 7)
        assert client.post("/api/search", json={"text": "second hop", "k": 1}).json()["hits"][0]["captions"] == [
            "second hop"
        ]
        write_takes(inbox, {"broken.npy": 1.5}, seed=6)  # its writer has finished it
        until(lambda: len(ids(client)) == 8)


def test_a_watched_folder_makes_the_library(studio: Studio, tmp_path: Path) -> None:
    inbox = write_takes(tmp_path / "inbox", {"first jump.npy": 1.5})
    with studio(library=tmp_path / "new", watch=inbox, wait=False) as client:
        until(lambda: client.get("/healthz").json()["status"] == "ok")
        until(lambda: len(ids(client)) == 1)


def test_a_version_of_another_process_is_served_and_told(own_client: TestClient, library: Path, tmp_path: Path) -> None:
    before = own_client.get("/api/library").json()["version"]
    index([write_takes(tmp_path / "more", {"deep bow.npy": 1.5})], library, encoder=FakeEncoder())
    until(lambda: own_client.get("/api/library").json()["version"] > before)
    assert own_client.post("/api/search", json={"text": "deep bow", "k": 1}).json()["hits"][0]["captions"] == [
        "deep bow"
    ]


def test_two_studios_change_one_library(studio: Studio) -> None:
    with studio() as one, studio() as other:
        brought = npy_of(one)
        kept = one.post("/api/clips", json={"clip": brought, "name": "theirs", "caption": "a shared bow"}).json()[
            "clip_id"
        ]
        until(lambda: kept in ids(other))
        mine = other.post("/api/clips", json={"clip": npy_of(other), "name": "theirs"}).json()["clip_id"]
        until(lambda: mine in ids(one))
        assert mine != kept


def npy_of(client: TestClient) -> str:
    """An uploaded motion."""
    from tests.web.test_security import BYTES, npy

    return str(client.post("/api/uploads", params={"name": "x.npy"}, content=npy(), headers=BYTES).json()["clip"])


def test_a_library_that_is_deleted_is_an_answer_and_one_put_back_is_served(
    own_client: TestClient, library: Path, tmp_path: Path
) -> None:
    clip = ids(own_client)[0]
    shutil.move(library, tmp_path / "away")
    for ask in (
        lambda: own_client.post("/api/search", json={"text": "kick"}),
        lambda: own_client.get(f"/api/frames/{clip}"),
        lambda: own_client.get("/api/versions"),
        lambda: own_client.get("/api/facets"),
        lambda: own_client.post("/api/export", json={"clips": [clip]}),
    ):
        answer = ask()
        assert answer.status_code in (200, 404, 503), answer.text
        assert str(tmp_path) not in answer.text
    until(lambda: own_client.get("/healthz").json()["status"] == "library gone")
    shutil.move(tmp_path / "away", library)
    until(lambda: own_client.post("/api/search", json={"text": "kick", "k": 1}).status_code == 200)


def test_a_vacuum_underneath_is_not_noticed(own_client: TestClient, library: Path) -> None:
    old, kept = ids(own_client)[0], ids(own_client)[1]
    files = {path for path in library.rglob("*") if path.is_file()}
    stop, answers = threading.Event(), []

    def asking() -> None:
        while not stop.is_set():
            answers.extend(
                answer.status_code
                for answer in (
                    own_client.post("/api/search", json={"text": "kick", "k": 2}),
                    own_client.get(f"/api/frames/{quote(kept, safe='')}"),
                    own_client.get("/api/versions"),
                    own_client.get("/api/facets", params={"where": f"duration_s > {len(answers) % 3}"}),
                )
            )

    thread = threading.Thread(target=asking)
    thread.start()
    try:
        assert own_client.delete(f"/api/clips/{quote(old, safe='')}").status_code == 200
        until(lambda: old not in ids(own_client))
        other = Library.open(library)
        for _ in range(20):
            other.vacuum(keep=1, older_than_s=0, grace_s=0)
        seen = len(answers)
        until(lambda: len(answers) > seen + 8)
    finally:
        stop.set()
        thread.join(20)
    assert any(not path.exists() for path in files), "nothing was freed"
    assert set(answers) == {200}
    assert kept in ids(own_client)


def test_news_is_streamed(client: TestClient) -> None:
    from remora.web.desk import Desk

    desk: Desk = client.app.state.desk  # type: ignore[attr-defined]
    assert client.portal is not None

    async def heard() -> bytes:
        listener = desk.hub.listen("library")
        desk.hub.tell("job x", "job", {})
        desk.hub.tell("library", "version", {"version": 9}, last=True)
        stream = desk.hub.stream(listener, b"event: first\n\n")
        return b"".join([bytes(chunk) async for chunk in stream.body_iterator])  # type: ignore[arg-type]

    told = client.portal.call(heard)
    assert told.startswith(b"event: first\n\nevent: version\n") and desk.hub.open == 0
    assert json.loads(told.rpartition(b"data: ")[2]) == {"version": 9}
