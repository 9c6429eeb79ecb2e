"""What every route works with: the studio, its counters, and a bounded queue for each kind of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from remora.web.answers import JobAnswer
from remora.web.gate import Gate
from remora.web.hub import Hub
from remora.web.jobs import Jobs
from remora.web.metrics import Metrics
from remora.web.reply import reply
from remora.web.settings import Settings
from remora.web.studio import Studio


@dataclass(frozen=True)
class Desk:
    """The parts of one running studio."""

    settings: Settings
    studio: Studio
    metrics: Metrics
    hub: Hub
    jobs: Jobs
    questions: Gate  # searches and what needs the encoder
    looks: Gate  # rows, frames, counts: milliseconds each
    moments: Gate  # sentences inside clips: a second for a minute of motion
    chores: Gate  # reading uploads, writing exports: seconds each

    @classmethod
    def of(cls, settings: Settings) -> Desk:
        """A desk for a studio that is not started yet."""
        metrics, hub = Metrics(), Hub(settings.streams)

        def changed(job: JobAnswer, over: bool) -> None:
            hub.tell(f"job {job.job_id}", "job", job, last=over)

        studio = Studio(
            settings, tell=lambda event, data: hub.tell("library", event, data), batch_seen=metrics.batch
        )  # fmt: skip
        return cls(
            settings, studio, metrics, hub,
            Jobs(waiting=settings.jobs_waiting, kept=settings.kept, changed=changed, metrics=metrics),
            questions=Gate("questions", workers=8, waiting=settings.waiting),
            looks=Gate("requests", workers=4, waiting=4 * settings.waiting),
            moments=Gate("moments", workers=1, waiting=8),
            chores=Gate("uploads and exports", workers=1, waiting=8),
        )  # fmt: skip

    @property
    def gates(self) -> tuple[Gate, ...]:
        """All queues."""
        return self.questions, self.looks, self.moments, self.chores

    async def answer(self, request: Request, gate: Gate, work: Callable[[], Any], **options: Any) -> Response:
        """What ``work`` returns as an answer, made and packed in a thread of ``gate``."""
        return await gate.run(lambda: reply(request, work(), **options))


def desk_of(request: Request) -> Desk:
    """The desk of the application that got a request."""
    desk: Desk = request.app.state.desk
    return desk
