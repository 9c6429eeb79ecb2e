"""Counters in the text format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5, 10)


class Metrics:
    """The counters of one studio."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "remora_requests", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "remora_request_seconds", "Time to an answer", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self._batches = Histogram(
            "remora_text_batch_size",
            "Sentences embedded together",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=self.registry,
        )
        self.inside = Gauge("remora_inside", "Requests in a queue or its threads", ["queue"], registry=self.registry)
        self.clips = Gauge("remora_clips", "Clips in the version served", registry=self.registry)
        self.version = Gauge("remora_library_version", "The version served", registry=self.registry)
        self.ready = Gauge("remora_encoder_ready", "1 when sentences can be embedded", registry=self.registry)
        self.streams = Gauge("remora_streams", "Open streams of events", registry=self.registry)
        self._jobs = Counter("remora_jobs", "Jobs that ended, by state", ["state"], registry=self.registry)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        method = method if method in ("GET", "HEAD", "POST", "DELETE") else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, size: int) -> None:
        """So many sentences were embedded together."""
        self._batches.observe(size)

    def job(self, state: str) -> None:
        """A job ended."""
        self._jobs.labels(state).inc()

    def text(self) -> bytes:
        """All of them, as they are read by Prometheus."""
        return generate_latest(self.registry)
