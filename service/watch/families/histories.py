"""The series of histories: records by how they stand to those before them, entities, gaps."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from vaewatch.scoring.series.history import Standing

CONTEXT = "context"  # the word of a record before the newest, where only that is judged
AHEAD = "ahead"  # of a record whose time is too far ahead of the clock
WORDS = (*(standing.value for standing in Standing), CONTEXT, AHEAD)
CAUSES = EVICTED, FORGOTTEN = ("evicted", "forgotten")


class HistorySeries:
    """Series that only an artifact with a window moves; they are there for rules all the same."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.records = Counter(
            f"{prefix}_history_records",
            "Records of an artifact with a window, by how they stand to those of their entity "
            "before them: full (and judged), new_entity (judged, of one that the model does not "
            "know), lasting (judged, and compared with the alarms of their entity, too), "
            "warming_up, late, repeated, ahead (of the clock), or context, which are those before "
            "the newest with judge=last.",
            ("history",),
            registry=registry,
        )
        self.gaps = Counter(
            f"{prefix}_history_gaps",
            "Pauses of an entity that were longer than the gap of a window, which begins anew.",
            registry=registry,
        )
        self.dropped = Counter(
            f"{prefix}_history_entities_dropped",
            "Entities whose history has left: evicted for another one, or forgotten because the "
            "artifact has other features now.",
            ("cause",),
            registry=registry,
        )
        self.entities = Gauge(
            f"{prefix}_history_entities",
            "Entities whose history is held.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.away = Gauge(
            f"{prefix}_history_away",
            "1 while the Redis that holds the histories does not answer, or is full.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def begin(self) -> None:
        """Start every counter at 0."""
        for word in WORDS:
            self.records.labels(word)
        for cause in CAUSES:
            self.dropped.labels(cause)

    def count(self, words: Iterable[str]) -> None:
        """Count records by their words."""
        for word, n in Counts(words).items():
            self.records.labels(word).inc(n)

    def note(self, held: int, gaps: int, evicted: int, forgotten: int) -> None:
        """Count what became of histories in a batch, which now hold so many entities."""
        self.entities.set(held)
        for n, series in (
            (gaps, self.gaps),
            (evicted, self.dropped.labels(EVICTED)),
            (forgotten, self.dropped.labels(FORGOTTEN)),
        ):
            if n:
                series.inc(n)
