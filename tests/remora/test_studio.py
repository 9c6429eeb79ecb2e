"""``remora studio``: which library it takes, and what it says when it can take none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from remora.web import server
from tests.remora.conftest import Remora


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Settings of the studios that would run, in an empty working folder."""
    found: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda settings, **options: found.append((settings, options)))
    monkeypatch.chdir(tmp_path)
    return found


def test_after_the_demo_no_library_need_be_named(
    remora: Remora, started: list[Any], template: Path, tmp_path: Path
) -> None:
    nothing = remora("studio")
    assert nothing.code == 1 and "there is no library at library" in nothing.err and started == []
    shutil.copytree(template / "library", tmp_path / "remora-demo" / "library")
    told = remora("studio", "--no-browser")
    assert told.code == 0 and "the demo" in told.err
    shutil.copytree(template / "library", tmp_path / "library")
    assert remora("studio").code == 0
    places = [(settings.library, options["browser"]) for settings, options in started]
    assert places == [(Path("remora-demo/library"), False), (Path("library"), True)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--watch", "nowhere"), "no such folder"), (("--watch", ".", "--read-only"), "drop one of them"),
        (("--library", "elsewhere"), "remora index"), (("--port", "70000"), "--port"), (("--rate", "0"), "--rate"),
    ],
)  # fmt: skip
def test_what_cannot_be_started_is_one_line(
    remora: Remora, started: list[Any], arguments: tuple[str, ...], said: str
) -> None:
    result = remora("studio", *arguments)
    assert result.code in (1, 2) and said in result.err and "Traceback" not in result.err and started == []
