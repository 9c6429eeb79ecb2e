"""What every request passes before anything reads it, and what every answer carries.

- The name in ``Host`` must be one of ours (a page elsewhere cannot reach a studio on loopback by a name of its own), an
  ``Origin`` that is sent must be the same place (no foreign page can make a browser ask for changes), and the token must be
  right where one is set. Browsers keep it in a cookie that scripts cannot read; it leaves the address at once.
- A body has an end, in bytes and in seconds; an address has a rate.
- No answer may be framed, sniffed, or load anything from elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from remora.web.errors import StudioError
from remora.web.gate import RateLimit
from remora.web.metrics import Metrics
from remora.web.reply import error_reply
from remora.web.settings import MAX_JSON, Settings

COOKIE = "remora_token"
CSP = (
    "default-src 'self'; img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OPEN_PATHS = ("/healthz",)  # answer without a token: they say nothing of the library
COSTS = {
    "/api/uploads": 20.0,
    "/api/export": 10.0,
    "/api/moments": 10.0,
    "/api/jobs/generate": 20.0,
    "/api/jobs/edit": 20.0,
}  # in requests
SECURITY_HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """The outermost layer of a studio."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._rate = RateLimit(settings.rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass, or answer it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status, method, started = time.perf_counter(), 500, scope["method"], False

        async def sending(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            early = self._refused(scope)
            if scope["method"] == "HEAD":  # answered like GET; the server sends no body then
                scope = {**scope, "method": "GET"}
            if early is not None:
                await early(scope, receive, sending)
            else:
                await self._app(scope, self._bounded(scope, receive), sending)
        except Exception as error:  # a fault of our own: its traceback is for the terminal, not for the answer
            logging.getLogger("uvicorn.error").exception("fault in %s %s", method, scope["path"])
            if not started:
                text = f"{type(error).__name__}: a fault of this studio; the terminal it runs in shows where"
                await error_reply(StudioError(500, "fault", text))(scope, receive, sending)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(route, method, status, time.perf_counter() - begin)

    def _refused(self, scope: Scope) -> Response | None:
        """The answer of a request that may not pass."""
        headers = Headers(scope=scope)
        try:
            self._check_rate(scope)
            self._check_host(headers)
            login = self._login(scope)
            if login is not None:
                return login
            self._check_token(scope, headers)
            if scope["method"] not in SAFE_METHODS:
                self._check_change(scope, headers)
        except StudioError as error:
            return error_reply(error)
        return None

    def _check_rate(self, scope: Scope) -> None:
        address = (scope.get("client") or ("unknown",))[0]
        wait = self._rate.take(address, COSTS.get(scope["path"], 1.0) if scope["method"] == "POST" else 1.0)
        if wait:
            raise StudioError(429, "busy", "too many requests; ask more slowly", retry_s=math.ceil(wait))

    def _check_host(self, headers: Headers) -> None:
        if not self._settings.hosts:
            return
        name = host_name(headers.get("host", ""))
        if name not in self._settings.hosts:
            names = ", ".join(sorted(self._settings.hosts))
            raise StudioError(421, "forbidden", f"this studio answers to {names}, not to {name[:80]!r}")

    def _login(self, scope: Scope) -> Response | None:
        """``/?token=T`` becomes a cookie and an address without it."""
        if self._settings.token is None or scope["path"] != "/" or scope["method"] != "GET":
            return None
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in pairs if name == "token"]
        if not given:
            return None
        if not same(given[0], self._settings.token):
            raise StudioError(401, "token", "this token is wrong; open the address that the terminal printed")
        rest = urlencode([(name, value) for name, value in pairs if name != "token"])
        answer = RedirectResponse("/" + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(
            COOKIE, self._settings.token, httponly=True, samesite="strict", secure=scope["scheme"] == "https"
        )
        answer.headers["cache-control"] = "no-store"
        return answer

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self._settings.token is None or scope["path"] in OPEN_PATHS:
            return
        scheme, _, value = headers.get("authorization", "").partition(" ")
        cookies = (piece.strip().partition("=") for piece in headers.get("cookie", "").split(";"))
        given = [value.strip()] if scheme.lower() == "bearer" else [v for name, _, v in cookies if name == COOKIE]
        if not any(same(one, self._settings.token) for one in given):
            raise StudioError(
                401,
                "token",
                "this studio asks for its token; open the address that the terminal printed, or send it as Bearer",
            )

    def _check_change(self, scope: Scope, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            raise StudioError(403, "forbidden", "this request comes from another site; open the studio itself")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise StudioError(403, "forbidden", "this request comes from another site; open the studio itself")
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._most(scope):
            raise StudioError(413, "too_large", too_long(self._most(scope)))
        wanted = "application/octet-stream" if scope["path"] == "/api/uploads" else "application/json"
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != wanted:
            raise StudioError(415, "media_type", f"send {wanted}, not {kind[:80] or 'nothing'}")

    def _most(self, scope: Scope) -> int:
        """Bytes that the body of a request may have."""
        return self._settings.upload_bytes if scope["path"] == "/api/uploads" else MAX_JSON

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """``receive`` for bodies that have an end."""
        most = self._most(scope)
        seen, finished = 0, False
        deadline = time.monotonic() + self._settings.upload_seconds

        async def bounded() -> Message:
            nonlocal seen, finished
            if finished:  # only a disconnect can follow
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise HTTPException(
                    408, f"the body did not come within {self._settings.upload_seconds:g} s; send it again"
                ) from None
            seen += len(message.get("body", b""))
            finished = not message.get("more_body", False)
            if seen > most:
                raise HTTPException(413, too_long(most))
            return message

        return bounded


def too_long(most: int) -> str:
    """What is said of a body that is longer."""
    return f"the body is longer than {most} bytes; send a smaller one"


def host_name(host: str) -> str:
    """The name in a Host header, without its port, in lower case."""
    if host.startswith("["):
        return host.partition("]")[0].removeprefix("[").lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def same(given: str, token: str) -> bool:
    """Whether a token is right, in a time that does not tell how much of it."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())
