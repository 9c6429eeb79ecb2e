"""A studio in this process, over a library of five takes, with a fake encoder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import encoders
from indexer import index
from remora.web.app import create_app
from remora.web.settings import Settings
from tests.fakes import FakeEncoder, write_takes

TAKES = {
    "salsa dance.npy": 3.0,
    "wave hello.npy": 2.0,
    "kick ball.npy": 2.5,
    "deep/jump high.npy": 1.5,
    "long walk.npy": 6.0,
}
Studio = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, made once."""
    folder = tmp_path_factory.mktemp("studio")
    index([write_takes(folder / "takes", TAKES)], folder / "library", encoder=FakeEncoder())
    return folder / "library"


@pytest.fixture
def library(template: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(template, tmp_path / "secret-place" / "library"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    """The encoder that every studio loads."""
    encoder = FakeEncoder()
    monkeypatch.setattr(encoders, "load_encoder", lambda *args, **kwargs: encoder)
    return encoder


@pytest.fixture
def studio(library: Path, fake: FakeEncoder) -> Studio:
    """Start a studio; its options are those of Settings. Waits for the models unless told otherwise."""

    @contextmanager
    def started(*, wait: bool = True, headers: dict[str, str] | None = None, **options: Any) -> Iterator[TestClient]:
        app = create_app(Settings(**{"library": library, "rate": 1e6, "burst": 1e6} | options))
        with TestClient(app, base_url="http://localhost", headers=headers, raise_server_exceptions=False) as client:
            if wait:
                until(lambda: client.get("/healthz").json()["models"]["encoder"] == "ready")
            yield client

    return started


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    """A studio of the default settings."""
    with studio() as client:
        yield client


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def ids(client: TestClient) -> list[str]:
    """The ids of all clips."""
    return [item["clip_id"] for item in client.get("/api/clips").json()["items"]]
