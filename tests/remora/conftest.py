"""The command line in this process, with a fake encoder where weights would be loaded."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import encoders
from indexer import index
from remora.cli.app import main
from tests.fakes import FakeEncoder, write_takes

TAKES = {
    "salsa dance.npy": 3.0,
    "wave hello.npy": 2.0,
    "kick ball.npy": 2.5,
    "deep/long walk.npy": 25.0,
    "deep/jump high.npy": 1.5,
}
LONG_SPANS = 5  # windows of 8 s every 4 s that cover 25 s
CLIPS = len(TAKES) - 1 + LONG_SPANS


@dataclass(frozen=True)
class Outcome:
    """Exit status of a command, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as the one JSON value it must be."""
        import json

        return json.loads(self.out)


Remora = Callable[..., Outcome]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEncoder:
    """The encoder that every command gets."""
    encoder = FakeEncoder()
    monkeypatch.setattr(encoders, "load_encoder", lambda *args, **kwargs: encoder)
    monkeypatch.delenv("REMORA_LIBRARY", raising=False)
    return encoder


@pytest.fixture
def remora(fake: FakeEncoder, capsys: pytest.CaptureFixture[str]) -> Remora:
    """Run a command; the arguments are turned into text."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with five takes (one of them long) and the library they make, once for all tests."""
    folder = tmp_path_factory.mktemp("template")
    takes = write_takes(folder / "takes", TAKES)
    index([takes], folder / "library", encoder=FakeEncoder())
    takes.rename(folder / "kept")  # the folder that was indexed is not there any more: its copies are moved folders
    return folder


@pytest.fixture
def takes(template: Path, tmp_path: Path) -> Path:
    """Those takes, to change at will."""
    return Path(shutil.copytree(template / "kept", tmp_path / "takes"))


@pytest.fixture
def library(template: Path, takes: Path, tmp_path: Path) -> Path:
    """The library of those takes."""
    return Path(shutil.copytree(template / "library", tmp_path / "library"))
