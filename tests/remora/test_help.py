"""The command line answers without loading anything heavy, and every command documents itself."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from remora.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = (
    "demo", "index", "search", "classify", "export", "convert", "doctor", "library info", "library history",
    "library tag", "library checkout", "library diff", "library restore", "library vacuum", "library compact",
    "library stats", "library verify", "library repair", "library duplicates", "library leaks",
    "library tune", "library export", "library import",
    "train retriever", "train tokenizer", "train masked", "train residual", "train length",
    "evaluate retrieval", "evaluate classification", "evaluate localization", "evaluate babel",
    "train motionclip", "train text-tether",
    "evaluate tokenizer", "evaluate generation", "generate", "edit", "create", "studio",
)  # fmt: skip
HEAVY = ("torch", "faiss", "transformers", "scipy", "pyarrow", "duckdb", "pandas", "rich", "numpy", "pydantic")
PROGRAM = """
import sys
from remora.cli.app import main
code = main(sys.argv[2:])
loaded = [name for name in sys.argv[1].split(",") if name in sys.modules]
sys.stderr.write("loaded:" + ",".join(loaded))
sys.exit(code)
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


@cache
def help_of(command: str) -> subprocess.CompletedProcess[str]:
    return python("-c", PROGRAM, ",".join(HEAVY), *command.split(), "--help")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    result = help_of(command)
    assert result.returncode == 0, result.stderr
    assert result.stderr.endswith("loaded:")
    assert "Usage: remora" in result.stdout
    if command:
        assert "--json" in result.stdout and "--debug" in result.stdout


def test_importing_remora_is_cheap_and_names_load_when_used() -> None:
    program = f"""
import sys
import remora
assert not [name for name in {HEAVY!r} if name in sys.modules], sys.modules.keys()
assert 1 <= len(remora.__all__) <= 15 and remora.__all__ == sorted(remora.__all__, key=lambda n: (n[0].islower(), n))
assert set(remora.__all__) <= set(dir(remora))
for name in remora.__all__:
    assert getattr(remora, name) is not None, name
"""
    result = python("-c", program)
    assert result.returncode == 0, result.stderr


def test_every_command_is_listed_and_tested_here() -> None:
    names = {command.name for command in app.registered_commands if not command.hidden}
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names |= {
            f"{group.name} {c.name or c.callback.__name__}"
            for c in group.typer_instance.registered_commands
            if c.callback
        }
    assert names == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_word_of_help(command: str) -> None:
    text = help_of(command).stdout
    options = text.partition("Options:")[2]
    bare = re.findall(r"^  (-{1,2}\S.*?)\s*$(?!\n {6,})", options, re.MULTILINE)
    assert all(re.search(r"\S {2,}\S", line) for line in bare), bare


@pytest.mark.parametrize(
    "arguments", [["search", "-k", "0"], ["index"], ["serach", "x"], ["search", "x", "--nosuch"], ["export", "x"]]
)
def test_wrong_usage_is_exit_2_with_one_line(arguments: list[str]) -> None:
    result = python("-m", "remora", *arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert re.fullmatch(r"error: [^\n]+; see remora[^\n]* --help\n", result.stderr)
