"""Writes ``docs/cli.md`` from the help of every command: ``python docs/make_cli.py``; ``--check`` only compares."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("cli.md")
WIDTH = 110


def commands(command: Any, name: str, parent: Any = None) -> Iterator[tuple[str, str]]:
    """(path, help text) of a command and of all below it, in the order of ``--help``."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    context.terminal_width = context.max_content_width = WIDTH
    yield context.command_path, command.get_help(context).rstrip()
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from commands(command.get_command(context, child), child, context)


def render() -> str:
    """The whole document."""
    import typer

    from remora.cli.app import app

    sections = ["# Commands\n\nMade by `docs/make_cli.py` from `--help`; do not edit.\n"]
    for path, text in commands(typer.main.get_command(app), "remora"):
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        sections.append(f"## {path}\n\n```text\n{lines}\n```\n")
    return "\n".join(sections)


def main() -> int:
    """Write the file, or compare; the exit status."""
    made = render()
    if "--check" in sys.argv[1:]:
        return int(not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != made)
    TARGET.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
