"""The series of incidents, feedback and the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vaewatch.scoring.incidents.feedback import Label

NO_COLUMN = "none"  # of an incident whose alarms came without reasons
DURATIONS = (60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 86400.0)
RARE, USUAL = "rare", "usual"


@dataclass(frozen=True)
class Precision:
    """The share of labelled incidents that were confirmed, and its 95% interval."""

    confirmed: int
    false_alarms: int
    share: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Standing:
    """What the store holds now. rare, usual: open incidents that no pattern silences, by whether
    chance alone explains them.
    """

    rare: int = 0
    usual: int = 0
    patterns: int = 0
    precision: Precision | None = None


class IncidentSeries:
    """Series that each process counts for itself: their sum over all is that of the store."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.incidents = Counter(
            f"{prefix}_incidents",
            "Incidents that were opened, by the main column of their first alarm.",
            ("column",),
            registry=registry,
        )
        self.silenced = Counter(
            f"{prefix}_incidents_silenced",
            "Incidents that were opened of alarms that a pattern expects.",
            registry=registry,
        )
        self.duration = Histogram(
            f"{prefix}_incident_duration_seconds",
            "Seconds from the first to the last alarm of incidents that have ended.",
            buckets=DURATIONS,
            registry=registry,
        )
        self.feedback = Counter(
            f"{prefix}_feedback", "Feedback by its label.", ("label",), registry=registry
        )
        self.dropped = Counter(
            f"{prefix}_incident_alarms_dropped",
            "Alarms that became part of no incident: too many waited for the store, it refused "
            "them, or it was away when the service stopped.",
            registry=registry,
        )
        self.waiting = Gauge(
            f"{prefix}_incident_alarms_waiting",
            "Alarms that the store has not taken yet.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.away = Gauge(
            f"{prefix}_store_away",
            "1 while the store of incidents and feedback does not answer.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def begin(self, columns: Iterable[str]) -> None:
        """Start every counter at 0."""
        for column in (*columns, NO_COLUMN):
            self.incidents.labels(column)
        for label in Label:
            self.feedback.labels(label)

    def open(self, column: str, *, silenced: bool) -> None:
        """Count an incident that was opened."""
        if silenced:
            self.silenced.inc()
        else:
            self.incidents.labels(column or NO_COLUMN).inc()


class Stands(Collector):
    """The gauges of one scrape, which every process and replica gives alike: what the store held
    when it was last looked at.
    """

    def __init__(self, prefix: str, standing: Standing | None) -> None:
        self.prefix, self.standing = prefix, standing

    def collect(self) -> Iterable[Metric]:
        standing, prefix = self.standing, self.prefix
        if standing is None:
            return
        found = GaugeMetricFamily(
            f"{prefix}_incidents_open",
            "Incidents that have not ended and that no pattern silences. rare: chance alone "
            "brings such a one less often than --notify-chance; usual: the others.",
            labels=["kind"],
        )
        found.add_metric([RARE], standing.rare)
        found.add_metric([USUAL], standing.usual)
        yield found
        yield GaugeMetricFamily(
            f"{prefix}_patterns_active", "Patterns that silence alarms.", value=standing.patterns
        )
        precision = standing.precision
        if precision is None:
            return
        text = "of incidents with feedback that were confirmed, in the last 28 days."
        for suffix, what, value in (
            ("", "Share", precision.share),
            ("_lower", "Lower end of the 95% interval of the share", precision.lower),
            ("_upper", "Upper end of the 95% interval of the share", precision.upper),
        ):
            yield GaugeMetricFamily(
                f"{prefix}_incident_precision{suffix}", f"{what} {text}", value=value
            )
