"""A test for each point of the OWASP lists (2021 web, 2023 API) that a studio can get wrong."""

from __future__ import annotations

import io
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from fastapi.testclient import TestClient

from remora.errors import RemoraError
from remora.web.errors import StudioError, without_paths
from remora.web.gate import RateLimit
from remora.web.server import LOOPBACK_NAMES, address, bind, is_loopback, secured
from remora.web.settings import Settings
from remora.web.uploads import read_upload
from tests.web.conftest import Studio, ids

TOKEN = "a-token-of-this-test"
BYTES = {"content-type": "application/octet-stream"}


# ---- A01, API1, API5: broken access control ------------------------------------------------------------------------


def test_loopback_asks_for_no_token_and_any_other_address_for_one() -> None:
    settings = Settings(library=Path("library"))
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "192.0.2.1", "example.org")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
    assert secured(settings, "127.0.0.1").token is None
    tokens = {secured(settings, "0.0.0.0").token for _ in range(20)}
    assert len(tokens) == 20 and all(token and len(token) >= 32 for token in tokens)
    assert address("127.0.0.1", 8500, None) == "http://localhost:8500/"


@pytest.mark.parametrize("path", ["/", "/api/library", "/api/openapi.json", "/metrics", "/api/events", "/assets/x.js"])
def test_without_the_token_nothing_is_told(studio: Studio, path: str) -> None:
    with studio(token=TOKEN, wait=False) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "remora_token="}, {"authorization": TOKEN}):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "token")
        assert client.get("/healthz").status_code == 200


def test_a_browser_gets_a_cookie_that_scripts_cannot_read_and_an_address_without_the_token(studio: Studio) -> None:
    with studio(token=TOKEN, wait=False) as client:
        assert client.get("/", params={"token": "wrong"}).status_code == 401
        answer = client.get("/", params={"token": TOKEN, "q": "wave hello"}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/?q=wave+hello")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert client.get("/api/library").status_code == 200  # the client keeps the cookie
        client.cookies.clear()
        assert client.get("/api/library", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_read_only_is_read_only(studio: Studio, library: Path) -> None:
    def files() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in library.rglob("*") if path.is_file()}

    with studio(read_only=True) as client:
        before = files()
        clip = ids(client)[0]
        told = client.delete(f"/api/clips/{quote(clip, safe='')}")
        assert (told.status_code, told.json()["code"]) == (403, "read_only")
        brought = client.post("/api/uploads", params={"name": "x.npy"}, content=npy(), headers=BYTES).json()["clip"]
        assert client.post("/api/clips", json={"clip": brought, "name": "x"}).json()["code"] == "read_only"
        assert client.post("/api/search", json={"clip": brought}).status_code == 200
        assert files() == before


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/%2e%2e/pyproject.toml",
        "/assets/../../app.py",
        "/..%5c..%5capp.py",
        "/app.py",
        "//etc/passwd",
    ],
)
def test_no_file_but_the_pages_own_is_served(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and "create_app" not in answer.text


# ---- A02, A05, API8: what a browser is told ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/library", "/nothing", "/api/nothing", "/healthz"])
def test_every_answer_forbids_scripts_from_elsewhere_frames_and_guessing(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy and "unsafe-eval" not in policy and "http:" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_the_page_has_no_inline_script_or_style() -> None:
    from remora.web.pages import page_files

    page = page_files()["index.html"].body.decode()
    assert "<style" not in page and " style=" not in page and " onclick" not in page
    assert all("src=" in piece.partition(">")[0] for piece in page.split("<script")[1:])


def test_cors_is_off(client: TestClient) -> None:
    asked = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    answer = client.options("/api/search", headers=asked)
    assert answer.status_code == 405 and not [name for name in answer.headers if name.startswith("access-control")]


# ---- A10, CSRF, DNS rebinding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:9"},
    ],
)
def test_another_site_cannot_make_a_browser_change_anything(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/api/search", json={"text": "wave"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert client.delete("/api/clips/x", headers=headers).status_code == 403
    assert client.post("/api/search", json={"text": "wave"}, headers={"origin": "http://localhost"}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_form_of_another_site_is_no_request(client: TestClient, kind: str) -> None:
    answer = client.post("/api/search", content=b'{"text": "wave"}', headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "media_type")


def test_a_studio_on_loopback_answers_to_no_other_name(studio: Studio) -> None:
    with studio(hosts=LOOPBACK_NAMES, wait=False) as client:
        for host, status in (("localhost:8500", 200), ("127.0.0.1", 200), ("[::1]:8500", 200), ("evil.example", 421)):
            assert client.get("/healthz", headers={"host": host}).status_code == status, host


# ---- A03: injection ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        "1=1; drop table rows", "source = (select 1)", "read_csv('x') is null", "source = 'a' union select 1", "x y z",
        "clip_id = $1", "sleep(10) = 1", "(" * 500, "source = '" + "a" * 9000 + "'", "", "-- nothing",
    ],
)  # fmt: skip
def test_a_filter_is_a_filter_or_an_error(client: TestClient, where: str) -> None:
    answer = client.get("/api/clips", params={"where": where})
    assert answer.status_code in (200, 422)
    if answer.status_code == 200:
        assert where in ("", "-- nothing") or answer.json()["total"] == 0


def test_names_of_files_cannot_leave_their_header(client: TestClient) -> None:
    brought = client.post("/api/uploads", params={"name": 'a"\r\nx-evil: 1.npy'}, content=npy(), headers=BYTES)
    assert brought.status_code == 201 and "\n" not in brought.json()["name"]
    answer = client.get(f"/api/export/{brought.json()['clip']}", params={"format": "bvh"})
    assert "x-evil" not in answer.headers
    assert answer.headers["content-disposition"].count('"') == 2


# ---- A04, API4: unrestricted consumption ---------------------------------------------------------------------------


def npy(frames: int = 40) -> bytes:
    """A motion as the bytes of a file."""
    out = io.BytesIO()
    from tests.fakes import somebody

    np.save(out, somebody(frames / 20), allow_pickle=False)
    return out.getvalue()


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left over is this test's, whatever runs beside it."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def temporary() -> set[str]:
    """What studios have left among the temporary files."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("remora-*")}


def zip_bomb() -> bytes:
    """An npz of a few hundred kilobytes that would be 4 GB."""
    out = io.BytesIO()
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (8_000_000, 22, 3)})
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed,
        packed.open("joints.npy", "w", force_zip64=True) as file,
    ):
        file.write(head.getvalue())
        for _ in range(64):
            file.write(bytes(1 << 20))
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.bvh", b"MZ\x90\x00" + bytes(2000)),
        ("a.bvh", b""),
        ("a.bvh", "HIERARCHY\nROOT ä".encode("utf-16")),
        ("a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 60),
        ("a.npz", zip_bomb()),
        ("a.npz", b"PK\x03\x04" + bytes(100)),
        ("a.exe", b"MZ"),
        ("a", b"x"),
        ("a.bvh.exe", b"x"),
    ],
)
def test_a_file_that_is_no_motion_is_an_answer(client: TestClient, name: str, content: bytes) -> None:
    before = temporary()
    answer = client.post("/api/uploads", params={"name": name}, content=content, headers=BYTES)
    assert (answer.status_code, answer.json()["code"]) == (415, "unreadable"), answer.text
    assert tempfile.gettempdir() not in answer.text
    assert temporary() <= before
    assert client.post("/api/search", json={"text": "wave"}).status_code == 200


def test_reading_an_upload_has_an_end_in_frames_and_time(studio: Studio, tmp_path: Path) -> None:
    with studio(upload_frames=30) as client:
        answer = client.post("/api/uploads", params={"name": "a.npy"}, content=npy(40), headers=BYTES)
        assert answer.status_code == 415 and "30" in answer.json()["error"]
    path = tmp_path / "a.npy"
    path.write_bytes(npy(40))
    with pytest.raises(StudioError, match=r"a\.npy: was not read within 0\.05 s"):
        read_upload(path, frames=100, seconds=0.05)


def test_a_body_that_is_too_long_is_refused_whether_it_says_so_or_not(studio: Studio) -> None:
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        for _ in range(1000):
            sent += 1 << 16
            yield bytes(1 << 16)

    with studio(upload_bytes=1 << 20, wait=False) as client:
        told = client.post("/api/uploads", params={"name": "a.npy"}, content=bytes(1 << 21), headers=BYTES)
        assert (told.status_code, told.json()["code"]) == (413, "too_large")
        silent = client.post("/api/uploads", params={"name": "a.npy"}, content=chunks(), headers=BYTES)
        assert (silent.status_code, silent.json()["code"]) == (413, "too_large")
        long = client.post("/api/search", json={"text": "x" * 3_000_000})
        assert (long.status_code, long.json()["code"]) == (413, "too_large")


def test_an_address_has_a_rate_and_others_do_not_pay_for_it() -> None:
    now = 0.0
    limit = RateLimit(10.0, 5.0, clock=lambda: now)
    assert [limit.take("a") == 0 for _ in range(7)] == [True] * 5 + [False] * 2
    assert limit.take("b") == 0
    now = 0.5
    assert [limit.take("a") == 0 for _ in range(6)] == [True] * 5 + [False]
    for number in range(10_000):
        limit.take(str(number))
    assert len(limit._buckets) <= RateLimit.ADDRESSES


def test_too_many_requests_are_told_when_to_come_back(studio: Studio) -> None:
    with studio(rate=1.0, burst=3.0, wait=False) as client:
        answers = [client.get("/healthz") for _ in range(6)]
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    assert answers[-1].status_code == 429 and int(answers[-1].headers["retry-after"]) >= 1


def test_streams_are_bounded(studio: Studio) -> None:
    with studio(streams=0, wait=False) as client:
        assert client.get("/api/events").json()["code"] == "busy"


def test_questions_wait_in_a_bounded_queue(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    from concurrent.futures import ThreadPoolExecutor

    from remora.web.studio import Studio as Asked

    go, search = threading.Event(), Asked.search

    def slow(self: Asked, asked: Any) -> Any:
        go.wait(20)
        return search(self, asked)

    monkeypatch.setattr(Asked, "search", slow)
    with studio(waiting=2) as client, ThreadPoolExecutor(24) as threads:
        asked = [threads.submit(client.post, "/api/search", json={"text": f"wave {n}"}) for n in range(20)]
        from tests.web.conftest import until

        until(lambda: sum(one.done() for one in asked) >= 10)
        assert client.get("/healthz").status_code == 200  # others are answered meanwhile
        go.set()
        statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [200] * 10 + [429] * 10


# ---- A09, API3: no more than is needed is told ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "there is no library at {}; make one with: remora index SOURCE --library {}", "'{}': no such file", "({}/a b.bvh)",
        "x={}/deep/file.npy, and more", "C:\\Users\\me\\file.bvh is broken", "\\\\server\\share\\file.bvh",
    ],
)  # fmt: skip
def test_paths_are_cut_out_of_sentences(text: str, tmp_path: Path) -> None:
    said = without_paths(text.format(tmp_path / "library", tmp_path / "library"))
    assert str(tmp_path.parent) not in said and "Users" not in said and "share\\" not in said
    assert "library" in said or "file" in said or "b.bvh" in said


@pytest.mark.parametrize(
    "text", ["clips a/b/c.bvh#0.00-1.00", "3 m/s and 1/2", "see /api/openapi.json", "an origin http://a.b/c"]
)
def test_what_is_no_path_of_this_machine_stays(text: str) -> None:
    assert without_paths(text).split()[-1].rpartition("/")[2] == text.split()[-1].rpartition("/")[2]


def test_no_answer_holds_a_path_of_the_server(client: TestClient, template: Path) -> None:
    clip = quote(ids(client)[0], safe="")
    asked: list[Callable[[], Any]] = [
        lambda: client.get("/api/library"), lambda: client.get("/api/facets"), lambda: client.get("/api/versions"),
        lambda: client.get(f"/api/clips/{clip}"), lambda: client.get("/api/clips"), lambda: client.get("/metrics"),
        lambda: client.get(f"/api/frames/{clip}"), lambda: client.get(f"/api/export/{clip}?format=bvh"),
        lambda: client.get("/api/map"), lambda: client.get("/api/openapi.json"), lambda: client.get("/healthz"),
        lambda: client.post("/api/search", json={"text": "wave"}), lambda: client.post("/api/search", json={"clip": "x"}),
        lambda: client.post("/api/jobs/generate", json={"text": "wave"}), lambda: client.get("/api/frames/x"),
        lambda: client.post("/api/uploads?name=a.bvh", content=b"x", headers=BYTES),
        lambda: client.post("/api/export", json={"clips": ids(client)[:1], "formats": ["bvh", "npy"]}),
    ]  # fmt: skip
    for ask in asked:
        answer = ask()
        for secret in (str(template.parent), "secret-place", str(Path.home()) + "/", tempfile.gettempdir() + "/"):
            assert secret.encode() not in answer.content, (answer.url, secret)


def test_a_fault_shows_nothing_of_the_code(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    from remora.web.studio import Studio as Asked

    def broken(self: Asked, asked: Any) -> Any:
        raise ZeroDivisionError("at /srv/someone/remora/web.py")

    monkeypatch.setattr(Asked, "search", broken)
    with studio(wait=False) as client:
        answer = client.post("/api/search", json={"text": "wave"})
    assert (answer.status_code, answer.json()["code"]) == (500, "fault")
    assert "someone" not in answer.text and "Traceback" not in answer.text
    assert "default-src" in answer.headers["content-security-policy"]


# ---- the address ---------------------------------------------------------------------------------------------------


def test_a_taken_port_gives_way_to_the_next_free_one() -> None:
    first = bind("127.0.0.1", 0)
    port = first.getsockname()[1]
    second = bind("127.0.0.1", port)
    assert second.getsockname()[1] > port
    assert first.proto == socket.IPPROTO_TCP  # else asyncio lets every answer wait 40 ms for its second half
    with pytest.raises(RemoraError, match="no port"):
        bind("127.0.0.1", port, tries=1)
    with pytest.raises(RemoraError, match="address of this machine"):
        bind("192.0.2.77", port)
    first.close()
    second.close()
