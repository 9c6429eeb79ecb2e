"""``remora evaluate``: how good an encoder is, on whose data."""

from __future__ import annotations

import typer

app = typer.Typer(help="Measure an encoder.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def group() -> None:
    """Measure an encoder."""
