"""News for whoever listens: from any thread to streams of server-sent events, with an end to how many and how much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import StreamingResponse

from remora.web.errors import busy
from remora.web.reply import to_json

HEARTBEAT_S = 15.0
BACKLOG = 64  # events that a slow listener may be behind; the oldest is dropped then


@dataclass(eq=False)
class Listener:
    """One open stream."""

    topic: str
    loop: asyncio.AbstractEventLoop
    waiting: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(BACKLOG))

    def put(self, event: bytes | None) -> None:
        """Queue an event; None ends the stream. Runs in the stream's own loop."""
        if self.waiting.full():
            self.waiting.get_nowait()
        self.waiting.put_nowait(event)


class Hub:
    """Topics and their listeners, at most ``most`` in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._listeners: set[Listener] = set()

    @property
    def open(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    def tell(self, topic: str, event: str, data: Any, *, last: bool = False) -> None:
        """Send an event to all listeners of a topic, and end their streams after the ``last``; from any thread."""
        text = event_bytes(event, data)
        for listener in tuple(self._listeners):
            if listener.topic == topic:
                try:
                    listener.loop.call_soon_threadsafe(listener.put, text)
                    if last:
                        listener.loop.call_soon_threadsafe(listener.put, None)
                except RuntimeError:  # its loop has ended
                    self._listeners.discard(listener)

    def listen(self, topic: str) -> Listener:
        """A place among the listeners, from now on; StudioError 429 when all are taken."""
        if len(self._listeners) >= self._most:
            raise busy(f"{self._most} streams of events are open already; close one")
        listener = Listener(topic, asyncio.get_running_loop())
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Give a place back."""
        self._listeners.discard(listener)

    def stream(self, listener: Listener, *first: bytes, end: bool = False) -> StreamingResponse:
        """An answer that sends ``first`` and then what is told, until its ``end`` or the client's."""

        async def events() -> AsyncIterator[bytes]:
            try:
                for event in first:
                    yield event
                while not end:
                    try:
                        news = await asyncio.wait_for(listener.waiting.get(), HEARTBEAT_S)
                    except TimeoutError:
                        yield b": still here\n\n"
                        continue
                    if news is None:
                        return
                    yield news
            finally:
                self.leave(listener)

        return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


def event_bytes(event: str, data: Any) -> bytes:
    """One event as it is sent."""
    return b"event: " + event.encode() + b"\ndata: " + to_json(data) + b"\n\n"
