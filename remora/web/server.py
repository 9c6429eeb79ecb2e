"""Run a studio: find a free port, say the address, open the browser, serve until it is told to stop."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
import time
import webbrowser
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from remora.errors import RemoraError
from remora.web.settings import Settings

PORTS_TRIED = 50
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int, *, tries: int = PORTS_TRIED) -> socket.socket:
    """A socket that listens at the first free port from ``port`` on; 0 takes any.

    Raises:
        RemoraError: none is free, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in range(port, min(port + tries, 65536)):
        # The protocol must be named: asyncio sends small answers at once (TCP_NODELAY) only on sockets that say TCP. Without
        # it head and body of an answer wait 40 ms for one another.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, number))
            sock.listen(128)
            return sock
        except OSError as error:
            sock.close()
            if not port or error.errno in (None, 99) or isinstance(error, socket.gaierror):
                raise RemoraError(
                    f"--host {host}: {error.strerror or error}; give an address of this machine"
                ) from error
    raise RemoraError(
        f"no port from {port} to {min(port + tries, 65536) - 1} is free or allowed; give another with --port"
    )


def secured(settings: Settings, host: str) -> Settings:
    """Settings for an address: names that are answered to on loopback, a token everywhere else."""
    if is_loopback(host):
        return replace(settings, hosts=settings.hosts | LOOPBACK_NAMES | {host.lower()})
    return replace(settings, hosts=frozenset(), token=settings.token or secrets.token_urlsafe(24))


def address(host: str, port: int, token: str | None) -> str:
    """What to open in a browser."""
    name = "localhost" if host in ("127.0.0.1", "::1") else socket.gethostname() if host in ("0.0.0.0", "::") else host
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}/" + (f"?token={token}" if token else "")


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    browser: bool,
    told: Callable[[dict[str, Any]], object],
    say: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; ``told`` gets the address when it can be asked, ``say`` what else is to be said."""
    import uvicorn

    from remora.web.app import create_app

    sock = bind(host, port)
    taken = int(sock.getsockname()[1])
    settings = secured(settings, host)
    if port and taken != port:
        say(f"port {port} is taken; this studio is at {taken}")
    url = address(host, taken, settings.token)
    config = uvicorn.Config(
        create_app(settings), log_level="warning", access_log=False, server_header=False, date_header=False,
        timeout_keep_alive=30, timeout_graceful_shutdown=3, limit_concurrency=1024, h11_max_incomplete_event_size=64 << 10,
        ws="none", proxy_headers=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    told({"url": url, "port": taken, "token": settings.token})
    if browser:
        threading.Thread(target=_open, args=(server, url), daemon=True).start()
    server.run(sockets=[sock])


def _open(server: object, url: str) -> None:
    """Open the page once it can be answered."""
    for _ in range(100):
        if getattr(server, "started", False):
            webbrowser.open(url)
            return
        time.sleep(0.1)
