"""The series of notifications: what became of them, and what still waits."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

RESULTS = SENT, FAILED, DROPPED = ("sent", "failed", "dropped")


class NotificationSeries:
    """Series with the names of receivers, which hold nothing of their addresses."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self._notifications = Counter(
            f"{prefix}_notifications",
            "Notifications of incidents by receiver and by what became of them: sent; failed, "
            "which is each attempt that is made again; or dropped, since too many waited or for "
            "too long.",
            ("receiver", "result"),
            registry=registry,
        )
        self._waiting = Gauge(
            f"{prefix}_notifications_waiting",
            "Notifications that wait to be sent, by receiver.",
            ("receiver",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._age = Gauge(
            f"{prefix}_notifications_oldest_seconds",
            "Seconds for which the oldest notification has waited, by receiver; 0 if none waits.",
            ("receiver",),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def begin(self, receivers: Iterable[str]) -> None:
        """Start every series at 0."""
        for receiver in receivers:
            for result in RESULTS:
                self._notifications.labels(receiver, result)
            self.note(receiver, 0, 0.0)

    def count(self, receiver: str, result: str, n: int = 1) -> None:
        """Count notifications; `result` is one of RESULTS."""
        self._notifications.labels(receiver, result).inc(n)

    def note(self, receiver: str, waiting: int, seconds: float) -> None:
        """Note what waits, in the process that sends it; the others note that nothing does."""
        self._waiting.labels(receiver).set(waiting)
        self._age.labels(receiver).set(seconds)
