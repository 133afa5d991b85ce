"""verdicts -> what the console shows: the last alarms, and an hour in spans of ten seconds.

Everything is bounded: the number of alarms, the reasons of each, the characters of a value. Values
are not kept at all unless `--console-values` allows it. With several workers each publishes its
own as a file beside the metrics, at most once a second; what a dead worker had is lost, and the
counters of `/metrics` stay.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from vaewatch.scoring.budget.calibration import SEVERITIES, count_severities
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.series.history import Standing
from vaewatch.scoring.series.reasons import SeriesReason
from vaewatch.scoring.verdicts import Verdict, Verdicts
from vaewatch.service.settings import Settings
from vaewatch.service.watch.courses import Lines, lines_of, shortened
from vaewatch.service.watch.place import Place
from vaewatch.service.watch.window import RECENT, of_others, publish

SPAN_SECONDS, SPANS = 10, 360
MOST_ALARMS, MOST_REASONS = 50, 3
WITH_LINES = 12  # of the last alarms: those whose windows are drawn
PUBLISH_SECONDS = 1.0


class Cause(msgspec.Struct):
    """One reason of an alarm; its values are None where they may not be shown.

    ago: of an artifact with a window, how many records ago it is.
    """

    column: str
    contribution: float
    observed: float | str | bool | None = None
    expected: float | str | bool | None = None
    ago: int | None = None


class Alarm(msgspec.Struct):
    """One record whose verdict was an anomaly. `at`: when it was counted, in Unix seconds.
    `place`: None if the batch came without one. `lines`: of an artifact with a window, how the
    columns behind it went, where values may be shown.
    """

    at: float
    score: float
    p_value: float
    severity: float
    reasons: list[Cause]
    place: Place | None = None
    lines: list[Lines] = []


class Span(msgspec.Struct):
    """The records of ten seconds. `start`: in Unix seconds. `alarms`: at the artifact's alpha.
    `severities`: (bins,) numbers of records. `lasting`: records whose entity's alarm lasts.
    `new`: other ones, of entities that the model does not know.
    """

    start: int
    records: int
    alarms: int
    severities: list[int]
    lasting: int = 0
    new: int = 0


class Memory(msgspec.Struct):
    """The last alarms, newest first, and the spans that had records, oldest first."""

    alarms: list[Alarm]
    spans: list[Span]


@dataclass
class Recent:
    """What one process remembers.

    values: alarms may show what their records held.
    folder: what workers share; None if there is one process.
    """

    values: bool
    folder: Path | None = None
    _alarms: deque[Alarm] = field(default_factory=lambda: deque(maxlen=MOST_ALARMS))
    _spans: deque[Span] = field(default_factory=lambda: deque(maxlen=SPANS))
    _published_at: float = 0.0
    _news: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Recent:
        return cls(settings.console_values, settings.workers_folder)

    def add(self, verdicts: Verdicts, alarms: int, places: Sequence[Place | None] = ()) -> None:
        """Remember some records, of which `alarms` alarm at the artifact's alpha. `places`: those
        of the last records that are anomalies.
        """
        now = time.time()
        span = self._span(int(now) // SPAN_SECONDS * SPAN_SECONDS)
        span.records += len(verdicts)
        span.alarms += alarms
        words = verdicts.history or []
        span.lasting += words.count(Standing.LASTING)
        span.new += words.count(Standing.NEW_ENTITY)
        span.severities = (
            np.array(span.severities) + count_severities(verdicts.severity)
        ).tolist()
        rows = np.flatnonzero(verdicts.is_anomaly)[-MOST_ALARMS:].tolist()
        unplaced = [None] * max(len(rows) - len(places), 0)
        known = [*unplaced, *places][-len(rows) :] if rows else []
        for row, place in zip(rows, known, strict=True):
            self._alarms.append(self._alarm(now, verdicts[row], place))
        self._news = True

    def _span(self, start: int) -> Span:
        if not self._spans or self._spans[-1].start < start:
            self._spans.append(Span(start, 0, 0, [0] * (len(SEVERITIES) + 1)))
        return self._spans[-1]

    def _alarm(self, at: float, verdict: Verdict, place: Place | None) -> Alarm:
        causes = [self._cause(reason) for reason in verdict.reasons[:MOST_REASONS]]
        lines = lines_of(verdict.courses) if self.values else []
        return Alarm(at, verdict.score, verdict.p_value, verdict.severity, causes, place, lines)

    def _cause(self, reason: Reason) -> Cause:
        cause = Cause(reason.column, reason.contribution)
        if isinstance(reason, SeriesReason):
            cause.ago = reason.ago
        if self.values:
            cause.observed, cause.expected = shortened(reason.observed), shortened(reason.expected)
        return cause

    def publish(self) -> None:
        """Share what is new with the other workers, unless the last time was too recent."""
        now = time.monotonic()
        if self.folder is not None and self._news and now - self._published_at >= PUBLISH_SECONDS:
            publish(self.folder, RECENT, self._mine())
            self._published_at, self._news = now, False

    def _mine(self) -> Memory:
        alarms = list(self._alarms)[::-1]
        return Memory(_few_drawn(alarms), list(self._spans))

    def memory(self) -> Memory:
        """What all workers remember."""
        others = [] if self.folder is None else of_others(self.folder, RECENT, Memory)
        return joined([self._mine(), *others], time.time())


def joined(memories: Iterable[Memory], now: float) -> Memory:
    """Merge memories: the last alarms of all of them, and the sum of each recent span."""
    alarms: list[Alarm] = []
    spans: dict[int, Span] = {}
    for memory in memories:
        alarms += memory.alarms
        for span in memory.spans:
            if span.start > now - SPANS * SPAN_SECONDS:
                spans[span.start] = _sum(spans.get(span.start), span)
    alarms.sort(key=lambda alarm: -alarm.at)
    return Memory(_few_drawn(alarms[:MOST_ALARMS]), [spans[start] for start in sorted(spans)])


def _few_drawn(alarms: list[Alarm]) -> list[Alarm]:
    """Take away the lines of older alarms: the page asks for all of them every two seconds."""
    for alarm in alarms[WITH_LINES:]:
        alarm.lines = []
    return alarms


def _sum(one: Span | None, other: Span) -> Span:
    if one is None:
        return other
    severities = [a + b for a, b in zip(one.severities, other.severities, strict=True)]
    return Span(
        one.start,
        one.records + other.records,
        one.alarms + other.alarms,
        severities,
        one.lasting + other.lasting,
        one.new + other.new,
    )
