"""Bounded queues in front of threads, and a rate for each address: what is too much is refused at once, never kept."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from remora.web.errors import busy

Answer = TypeVar("Answer")


class Gate:
    """``workers`` threads and ``waiting`` places in front of them."""

    def __init__(self, name: str, *, workers: int, waiting: int) -> None:
        self.name = name
        self._most = workers + waiting
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"studio-{name}")
        self.inside = 0

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """What ``work`` returns, made in a thread; StudioError 429 when all places are taken."""
        if self.inside >= self._most:
            raise busy(f"{self._most} {self.name} are waiting already")
        self.inside += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._leave)  # at its end, also when nobody waits for it any more
        return await future

    def _leave(self, done: asyncio.Future[Answer]) -> None:
        self.inside -= 1
        if not done.cancelled():
            done.exception()  # seen, so that an answer nobody waits for is not reported as forgotten

    def close(self) -> None:
        """Let nothing new begin."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class RateLimit:
    """A bucket of ``burst`` drops for each address, filled by ``rate`` drops a second; the last addresses are remembered."""

    ADDRESSES = 4096

    def __init__(self, rate: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, drops: float = 1.0) -> float:
        """0 when the request may pass, else the seconds until it may."""
        now = self._clock()
        level, then = self._buckets.pop(address, (self.burst, now))
        level = min(self.burst, level + (now - then) * self.rate)
        wait = 0.0 if level >= drops else (drops - level) / self.rate
        self._buckets[address] = (level if wait else level - drops, now)
        while len(self._buckets) > self.ADDRESSES:
            self._buckets.popitem(last=False)
        return wait
