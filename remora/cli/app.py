"""The ``remora`` command: its groups, and what happens when a command fails.

- No heavy import here or at the top of a command's file: ``--help`` must answer at once.
- An error that one of our rooms raised is a sentence for the user: one line, exit 1. Wrong usage is exit 2, Ctrl-C 130.
- ``--debug`` anywhere shows the traceback instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from remora.cli import (
    alike,
    classify,
    demo,
    doctor,
    evaluate,
    export,
    generate,
    index,
    library,
    search,
    studio,
    train,
    vectors,
)
from remora.output import say

ROOMS = frozenset({"motion", "db", "encoders", "indexer", "retriever", "generator", "remora"})
INTERRUPTED = 130
# Typer would load pydantic, as long as all the rest takes, to make a bool of the --help that was not asked of a group.
HELP_UNASKED = {"help": False} | {group: {"help": False} for group in ("library", "train", "evaluate")}

app = typer.Typer(
    name="remora",
    help="A library of human motion that you can ask.",
    epilog="Begin with: remora demo",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "default_map": HELP_UNASKED},
)
app.command("demo")(demo.demo)
app.command("index")(index.index)
app.command("search")(search.search)
app.command("classify")(classify.classify)
app.command("generate")(generate.generate)
app.command("edit")(generate.edit)
app.command("create")(generate.create)
app.command("studio")(studio.studio)
app.command("serve", hidden=True)(studio.studio)
app.command("export")(export.export)
app.command("convert")(export.convert)
app.command("doctor")(doctor.doctor)
library.app.command("duplicates")(alike.duplicates)
library.app.command("leaks")(alike.leaks)
library.app.command("tune")(vectors.tune)
library.app.command("export")(vectors.export)
library.app.command("import")(vectors.import_)
app.add_typer(library.app, name="library")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="evaluate")


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True)) -> None:
    """A library of human motion that you can ask."""
    if version:
        from remora import __version__

        sys.stdout.write(f"remora {__version__}\n")
        raise typer.Exit


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        status = app(args=arguments, prog_name="remora", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left; so do we, quietly
        return 1
    except Exception as error:
        if debug:
            raise
        return _say_error(error)


def _say_error(error: Exception) -> int:
    usage = getattr(error, "format_message", None)
    if usage is not None:  # of the command line itself: missing argument, unknown option
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "remora"
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stdout.write(usage().rstrip() + "\n")
            return 2
        say(f"error: {_one_line(usage()).rstrip('.')}; see {where} --help")
        return int(getattr(error, "exit_code", 2))
    if any(kind.__module__.partition(".")[0] in ROOMS for kind in type(error).__mro__):
        say(f"error: {_one_line(str(error))}")
    elif isinstance(error, OSError) and error.filename is not None:
        say(f"error: {error.filename}: {error.strerror}; check path, rights and space")
    elif isinstance(error, ModuleNotFoundError):
        say(f"error: the package {error.name!r} is not installed; run remora doctor, or make install")
    else:
        say(f"error: {type(error).__name__}: {_one_line(str(error))}; this is a fault of remora, --debug shows where")
    return 1


def _one_line(text: str) -> str:
    return " ".join(text.split())


def run() -> None:
    """Entry point of the installed command."""
    status = main()
    if status == INTERRUPTED:
        say("interrupted; what was reported as done stays done")
    sys.exit(status)
