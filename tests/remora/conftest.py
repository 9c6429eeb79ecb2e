"""The command line in this process, with a fake encoder where weights would be loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import encoders
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


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    """A folder of five takes, one of them long."""
    return write_takes(tmp_path / "takes", TAKES)


@pytest.fixture
def library(remora: Remora, takes: Path, tmp_path: Path) -> Path:
    """Those takes, indexed."""
    folder = tmp_path / "library"
    assert remora("index", takes, "--library", folder).code == 0
    return folder
