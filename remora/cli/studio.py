"""``remora studio``: a library in the browser, and behind an API."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from remora.cli.options import DEFAULT_LIBRARY, Debug, Device, EncoderName, GeneratorName, Json, LibraryDir
from remora.errors import RemoraError
from remora.output import say, write_line

DEMO_LIBRARY = Path("remora-demo") / "library"


def studio(
    library: LibraryDir = DEFAULT_LIBRARY,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; a taken one gives way to the next.")
    ] = 8500,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen at; any but this machine's own asks for a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None, typer.Option("--token", envvar="REMORA_TOKEN", help="The token to ask for; default: a new one.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    watch: Annotated[
        Path | None, typer.Option("--watch", metavar="SOURCE", help="Index what appears in this folder.")
    ] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Nothing that changes the library.")] = False,
    rate: Annotated[
        float, typer.Option("--rate", min=1, help="Requests a second that one address may make; twice as many at once.")
    ] = 200.0,
    name: Annotated[
        list[str] | None, typer.Option("--name", help="Another name to answer to, as behind a proxy; may be repeated.")
    ] = None,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Offer search, describe and generate to assistants at /mcp.")
    ] = False,
    encoder: EncoderName = None,
    generator: GeneratorName = None,
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """See, search, compare and make motion in the browser.

    Answers from this machine only, unless --host says otherwise. Programs find the API at /api/openapi.json, and
    with --json the address as a line of JSON.
    """
    from db import Library, LibraryNotFound

    if library == DEFAULT_LIBRARY and watch is None and not Library.exists(library) and Library.exists(DEMO_LIBRARY):
        library = DEMO_LIBRARY  # whoever has just run the demo wants to see it
        say("no library is named: showing that of the demo; yours: remora studio --library DIR")
    if not Library.exists(library) and watch is None:
        raise LibraryNotFound(
            f"there is no library at {library}; make one with: remora index SOURCE --library {library}, or give --watch SOURCE"
        )
    if watch is not None and read_only:
        raise RemoraError("--watch changes the library and --read-only forbids it; drop one of them")
    if watch is not None and not watch.exists():
        raise RemoraError(f"--watch {watch}: there is no such folder or file; check the path")
    try:
        from remora.web.server import serve
        from remora.web.settings import Settings
    except ModuleNotFoundError as error:
        raise RemoraError(
            f"the studio needs {error.name}, which is not installed; pip install 'remora[web]'"
        ) from error
    settings = Settings(
        library=library, encoder=encoder, generator=generator, device=device, token=token, read_only=read_only, mcp=mcp,
        watch=watch, rate=rate, burst=2 * rate, hosts=frozenset(one.lower() for one in name or ()),
    )  # fmt: skip

    def told(place: dict[str, Any]) -> None:
        if as_json:
            write_line(json.dumps(place))
            sys.stdout.flush()  # who waits for this line is another program
        else:
            say(f"studio of {library}: {place['url']}  (Ctrl-C ends it)")

    serve(settings, host=host, port=port, browser=not no_browser, told=told, say=say)
