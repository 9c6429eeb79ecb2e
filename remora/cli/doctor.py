"""``remora doctor``: what is installed, what works, what to do about the rest."""

from __future__ import annotations

import typer

from remora.cli.options import Debug, Json
from remora.output import waiting, write_json, write_line, write_table

SIGNS = {"ok": "ok", "optional": "-", "problem": "PROBLEM"}


def doctor(as_json: Json = False, debug: Debug = False) -> None:
    """Check packages, GPU, threads and weights.

    Says what to do about each; exit status 1 when something that is needed does not work.
    """
    from remora.doctor import examine, to_json

    with waiting("looking around", quiet=as_json):
        checks = examine()
    diagnosis = to_json(checks)
    if as_json:
        write_json(diagnosis)
    else:
        rows = [(SIGNS[check.state], check.name, check.found, check.remedy) for check in checks]
        write_table(("", "what", "found", "what to do"), rows, fold=("found", "what to do"))
        write_line("all is well" if diagnosis["ok"] else "something needed does not work, see PROBLEM above")
    if not diagnosis["ok"]:
        raise typer.Exit(1)
