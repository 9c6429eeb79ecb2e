"""Documents say what is so: the commands' reference is current, and what the README shows exists."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import encoders
from tests.fakes import FakeEncoder, write_takes
from tests.house.source import REPOSITORY

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md"))),
]


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    text = (REPOSITORY / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def shell_lines(document: str) -> Iterator[list[str]]:
    """Commands of the bash blocks, cut into words, without comments, prompts and what follows a && or a pipe."""
    for block in blocks(document, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            while words:
                end = next((at for at, word in enumerate(words) if word in ("&&", "|", ">", ";")), len(words))
                yield words[:end]
                words = words[end + 1 :]


def parse(command: Any, words: list[str], context: Any = None) -> None:
    """Let the command line read ``words``, without running anything."""
    if not hasattr(command, "list_commands"):
        command.make_context(command.name, words, parent=context)
        return
    inner = command.make_context(command.name, words[:1], parent=context, resilient_parsing=True)
    child = command.get_command(inner, words[0])
    assert child is not None, f"remora has no command {words[0]!r}"
    parse(child, words[1:], inner)


def test_the_reference_of_commands_is_what_help_says() -> None:
    done = subprocess.run([sys.executable, "-m", "docs.make_cli", "--check"], cwd=REPOSITORY, check=False)
    assert done.returncode == 0, "docs/cli.md is behind; run: python docs/make_cli.py"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_documents_exist_with_their_options(document: str) -> None:
    from remora.cli.app import app

    root = typer.main.get_command(app)
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in shell_lines(document):
        if words and words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, words
        if words and Path(words[0]).name == "remora" and words[1:]:
            parse(root, words[1:])


def test_a_command_that_does_not_exist_is_noticed() -> None:
    from remora.cli.app import app

    root = typer.main.get_command(app)
    with pytest.raises(AssertionError, match="dance"):
        parse(root, ["dance"])
    with pytest.raises(Exception, match="--loud"):
        parse(root, ["search", "a person waves", "--loud"])


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = FakeEncoder()
    monkeypatch.setattr(encoders, "load_encoder", lambda *args, **kwargs: encoder)
    monkeypatch.chdir(tmp_path)
    write_takes(tmp_path / "motions", {"a person waves.npy": 2.0, "a person walks.npy": 3.0})
    (code,) = blocks("README.md", "python")
    said: list[tuple[object, ...]] = []
    exec(compile(code, "README.md", "exec"), {"print": lambda *words: said.append(words)})
    assert len(said) == 2
    assert "waves" in str(said[0][1])
