"""A studio in this process, over a library of five takes, with a fake encoder."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

import encoders
import generator
import generator.model
from indexer import index
from motion import SMPL_22, Caption, Clip, Source
from remora.web.app import create_app
from remora.web.settings import Settings
from tests.fakes import FakeEncoder, somebody, write_takes

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
    """The library, made once; nobody changes it."""
    folder = tmp_path_factory.mktemp("studio") / "secret-place"
    index([write_takes(folder / "takes", TAKES)], folder / "library", encoder=FakeEncoder())
    return folder / "library"


@pytest.fixture
def library(template: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
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

    def started(**options: Any) -> AbstractContextManager[TestClient]:
        return begun(**{"library": library} | options)

    return started


@contextmanager
def begun(*, wait: bool = True, headers: dict[str, str] | None = None, **options: Any) -> Iterator[TestClient]:
    """A studio in this process; its options are those of Settings. Waits for the models unless told otherwise."""
    app = create_app(Settings(**{"rate": 1e6, "burst": 1e6} | options))
    with TestClient(app, base_url="http://localhost", headers=headers, raise_server_exceptions=False) as client:
        if wait:
            until(lambda: client.get("/healthz").json()["models"]["encoder"] == "ready")
        yield client


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """A studio behind a real socket; its address."""
    import uvicorn

    from remora.web.server import bind

    sock: socket.socket = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def client(template: Path) -> Iterator[TestClient]:
    """A studio of the default settings that all tests share which change nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "load_encoder", lambda *args, **kwargs: FakeEncoder())
        with begun(library=template) as client:
            patch.undo()  # the encoder is loaded: nobody else is to load this one
            yield client


@pytest.fixture
def own_client(studio: Studio) -> Iterator[TestClient]:
    """A studio of a test's own, over a library that it may change."""
    with studio() as client:
        yield client


class FakeGenerator:
    """Makes somebody wander for as long as was asked, in ten steps a batch; waits where it is told to."""

    def __init__(self) -> None:
        self.go, self.steps = threading.Event(), 0
        self.go.set()
        self.prompts: list[Any] = []

    def generate(self, prompts: Sequence[Any], *, sampling: Any, batch: int = 1, progress: Any = None) -> Iterator[Any]:
        self.prompts += prompts
        for step in range(10):  # of all prompts together
            self.steps += 1
            progress("tokens", step + 1, 10)
            self.go.wait(20)
        for prompt in prompts:
            joints = somebody(prompt.seconds or 2.0, seed=prompt.seed % 1000)
            clip = Clip(joints, SMPL_22, 20.0, (Caption(prompt.text, kind="model"),), Source(dataset="generated"))
            yield generator.Generated(
                prompt, clip, joints, joints[:, 0], np.zeros((1, 1, 1), np.int16), prompt.exemplars, (1.0, 2.0, 3.0)
            )


@pytest.fixture(scope="module")
def maker() -> Iterator[FakeGenerator]:
    """The generator that the studios of a module load."""
    fake = FakeGenerator()
    with pytest.MonkeyPatch.context() as patch:
        stand_ins(patch, fake)
        yield fake


def stand_ins(patch: pytest.MonkeyPatch, made_by: FakeGenerator) -> None:
    """Let studios load a fake encoder and ``made_by`` instead of weights."""

    def edit(
        maker: FakeGenerator, clip: Clip, what: Any, *, text: str, seed: int, exemplars: Any, **options: Any
    ) -> Any:
        prompt = generator.Prompt(text=text or "again", seed=seed, exemplars=tuple(exemplars), seconds=clip.duration_s)
        (made,) = maker.generate([prompt], sampling=options["sampling"], progress=options["progress"])
        return SimpleNamespace(result=made, start_s=what.start_s or 0.0, end_s=what.end_s or 1.0, parts=what.parts)

    patch.setattr(encoders, "load_encoder", lambda *args, **options: FakeEncoder())
    patch.setattr(generator.model, "generator_folder", lambda name=None: None)
    patch.setattr(generator, "load_generator", lambda *args, **options: made_by, raising=False)
    patch.setattr(generator, "edit", edit, raising=False)


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def ids(client: TestClient) -> list[str]:
    """The ids of all clips."""
    return [item["clip_id"] for item in client.get("/api/clips").json()["items"]]
