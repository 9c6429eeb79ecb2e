"""Work that takes seconds: one job at a time, a few waiting, progress told, cancelled at the next step.

- A job outlives whoever asked for it: a client that is gone may come back for the result, until newer ones take its place.
- What can be wrong with a request is found before it becomes a job.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from remora.web.answers import JobAnswer, ResultAnswer
from remora.web.errors import StudioError, as_studio_error, busy
from remora.web.metrics import Metrics

Kind = Literal["generate", "edit"]
State = Literal["waiting", "running", "done", "failed", "cancelled"]
Step = Callable[[str, int, int], None]  # (stage, done, total); raises when the job was cancelled
Work = Callable[[Step], ResultAnswer]
TELL_S = 0.1  # seconds between two progress events


class CancelledJob(Exception):
    """The job is to end here."""


@dataclass(eq=False)
class Job:
    """One piece of work and where it stands."""

    job_id: str
    kind: Kind
    request: Mapping[str, Any]
    work: Work
    state: State = "waiting"
    stage: str = ""
    done: int = 0
    total: int = 0
    error: str = ""
    result: ResultAnswer | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """A queue of ``waiting`` jobs before one thread; the last ``kept`` are remembered."""

    def __init__(
        self, *, waiting: int, kept: int, changed: Callable[[JobAnswer, bool], None], metrics: Metrics
    ) -> None:
        self._most, self._kept, self._changed, self._metrics = waiting, kept, changed, metrics
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, kind: Kind, request: Mapping[str, Any], work: Work) -> JobAnswer:
        """Queue ``work``; StudioError 429 when the queue is full."""
        job = Job(secrets.token_hex(8), kind, request, work)
        with self._lock:
            if sum(one.state == "waiting" for one in self._jobs.values()) >= self._most:
                raise busy(f"{self._most} jobs are waiting already")
            self._jobs[job.job_id] = job
            for old in [one for one in self._jobs.values() if one.over][: max(0, len(self._jobs) - self._kept)]:
                del self._jobs[old.job_id]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="studio-jobs")
                self._thread.start()
        self._queue.put(job)
        return self.answer(job.job_id)

    def answer(self, job_id: str) -> JobAnswer:
        """Where a job stands; StudioError 404 when it is not known (any more)."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise StudioError(
                    404, "not_found", f"there is no job {job_id[:40]!r}; it may be forgotten, ask for it anew"
                )
            ahead = [one.job_id for one in self._jobs.values() if one.state == "waiting"]
            return JobAnswer(
                job.job_id, job.kind, job.state, job.stage, job.done, job.total,
                ahead.index(job_id) + 1 if job_id in ahead else 0, job.error, job.request, job.result,
            )  # fmt: skip

    def all(self) -> tuple[JobAnswer, ...]:
        """All jobs that are remembered, newest first."""
        return tuple(self.answer(job_id) for job_id in reversed(tuple(self._jobs)))

    def cancel(self, job_id: str) -> JobAnswer:
        """End a job before it begins, or at its next step; one that is over stays as it is."""
        self.answer(job_id)
        job = self._jobs[job_id]
        job.cancelled.set()
        with self._lock:
            waiting = job.state == "waiting"
            if waiting:
                job.state = "cancelled"
        if waiting:
            self._tell(job)
        return self.answer(job_id)

    def close(self) -> None:
        """Cancel everything and let the thread end."""
        for job in tuple(self._jobs.values()):
            job.cancelled.set()
        self._queue.put(None)

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            with self._lock:
                if job.state != "waiting":
                    continue
                job.state = "running"
            self._tell(job)
            self._work(job)
            self._metrics.job(job.state)
            self._tell(job)

    def _work(self, job: Job) -> None:
        told = 0.0

        def step(stage: str, done: int, total: int) -> None:
            nonlocal told
            if job.cancelled.is_set():
                raise CancelledJob
            changed = stage != job.stage
            job.stage, job.done, job.total = stage, done, total
            if changed or time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                self._tell(job)

        try:
            result = job.work(step)
            job.result, job.state = result, "cancelled" if job.cancelled.is_set() else "done"
        except CancelledJob:
            job.state = "cancelled"
        except Exception as error:
            known = as_studio_error(error)
            job.error = (
                str(known) if known else f"{type(error).__name__}: a fault of the generator; try another request"
            )
            job.state = "failed"

    def _tell(self, job: Job) -> None:
        self._changed(self.answer(job.job_id), job.over)
