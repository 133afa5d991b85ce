"""Scorer of windows, labelled records -> SeriesEvaluation: which events are found, how soon, and
how often nothing was there.

An event is a run of anomalous records of one entity. It is found if an alarm falls on it, or on a
record after it whose window still holds one of it, before the next event begins. Of the records
outside events and such windows an alarm is false; an incident is false if all of its alarms are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from vaewatch.scoring.budget.expected import State
from vaewatch.scoring.budget.windows import Incidents, expected_of_windows
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.entity import in_order
from vaewatch.scoring.series.history import Standing
from vaewatch.scoring.series.incidents import incident_starts
from vaewatch.scoring.series.window import SeriesSummary, Window
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.form import SECOND
from vaewatch.training.records.labels import Labels
from vaewatch.training.series.labelled.vus import spans_of, vus_pr
from vaewatch.training.vae.threads import computing_on

Bools = NDArray[np.bool_]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class EntityEvaluation:
    """Figures of one entity; None for the name of a series without entities, and for figures that
    take both normal records and anomalies.

    Attributes:
        judged: records with a full window. anomalies: of these.
        events: that have a judged record. found: of these.
        false_incidents: of which no alarm belongs to an event.
        vus_pr: with buffers of 0 to W records.
    """

    entity: str | None
    judged: int
    anomalies: int
    events: int
    found: int
    false_incidents: int
    auroc: float | None
    auprc: float | None
    vus_pr: float | None


@dataclass(frozen=True)
class SeriesEvaluation:
    """Figures of labelled series at one alpha; rates are shares, not per cent.

    Attributes:
        warming_up, repeated: records that were not judged. lasting: judged ones that came while
            the alarm of their entity lasted.
        events_unjudged: events whose records were all warming up or repeated, which nothing can
            find; they are not among the events.
        delay_records, delay_seconds: the medians from the start of an event to its first alarm, of
            those that are found; None if none is.
        normals: judged records whose windows hold no anomaly. false_alarms: of these.
        false_incidents_per_day: per entity and day; foretold: as counted on the fit data.
        expected_false_alarms, false_alarms_by_chance: what normals bring, at most, and the range
            in which chance leaves it, at 99%, as so many independent blocks.
        auroc, auprc: of all judged records together. vus_pr: the mean of the entities that have
            anomalies. buffer: the longest one of VUS-PR, in records.
    """

    records: int
    warming_up: int
    repeated: int
    judged: int
    anomalies: int
    alpha: float
    events: int
    events_unjudged: int
    found: int
    delay_records: float | None
    delay_seconds: float | None
    normals: int
    false_alarms: int
    false_alarm_rate: float | None
    expected_false_alarms: float
    false_alarms_by_chance: tuple[int, int]
    budget_holds: bool | None
    false_incidents: int
    false_incidents_per_day: float | None
    false_incidents_per_day_foretold: float | None
    false_incidents_words: str
    auroc: float | None
    auprc: float | None
    vus_pr: float | None
    buffer: int
    entities: tuple[EntityEvaluation, ...]
    normal_labels: tuple[str, ...] = ()
    anomaly_labels: tuple[str, ...] = ()
    lasting: int = 0
    new: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Event:
    """An event of one entity: the places of its first and last record, and of the last one that
    its alarm may fall on, and the place of the first alarm; None if there is none.
    """

    first: int
    last: int
    until: int
    alarm: int | None
    judged: bool


@dataclass(frozen=True)
class _Series:
    """The N records of one entity, in order of time, without those that were repeated."""

    entity: str | None
    moments: NDArray[np.int64]
    anomaly: Bools
    score: NDArray[np.float64]
    alarm: Bools
    window: Window

    @property
    def judged(self) -> Bools:
        return ~np.isnan(self.score)

    def events(self) -> Iterator[_Event]:
        first, last = spans_of(self.anomaly)
        nexts = [*first[1:].tolist(), len(self.anomaly)][: len(first)]
        for a, b, after in zip(first.tolist(), last.tolist(), nexts, strict=True):
            until = min(b + self.window.size - 1, after - 1)
            at = np.flatnonzero(self.alarm[a : until + 1])
            alarm = a + int(at[0]) if len(at) else None
            yield _Event(a, b, until, alarm, bool(self.judged[a : until + 1].any()))

    def touched(self) -> Bools:
        """(N,) whether a record's window may hold an anomaly."""
        out = np.zeros(len(self.anomaly), bool)
        for event in self.events():
            out[event.first : event.last + self.window.size] = True
        return out

    def false_incidents(self) -> int:
        at = np.flatnonzero(self.alarm)
        number = np.cumsum(incident_starts(None, self.moments[at], self.window))
        return len(set(number.tolist()) - set(number[self.touched()[at]].tolist()))

    def evaluation(self) -> EntityEvaluation:
        judged, events = self.judged, [each for each in self.events() if each.judged]
        anomaly, score = self.anomaly[judged], self.score[judged]
        return EntityEvaluation(
            entity=self.entity,
            judged=len(score),
            anomalies=int(anomaly.sum()),
            events=len(events),
            found=sum(event.alarm is not None for event in events),
            false_incidents=self.false_incidents(),
            **_areas(anomaly, score),
            vus_pr=vus_pr(anomaly, score, self.window.size),
        )


@computing_on(1)
def evaluate_series(
    scorer: Scorer, frame: pl.DataFrame, labels: Labels, alpha: float | None = None
) -> SeriesEvaluation:
    """Score labelled records, each entity's in order of time, whatever their order is, and compare
    the verdicts with their labels.

    Args:
        alpha: the false-alarm rate of the verdicts; the artifact's own by default.

    Raises:
        SettingError: the artifact judges each record by itself.
    """
    window, summary = scorer.artifact.window, scorer.artifact.manifest.series
    if window is None or summary is None:
        raise SettingError("an artifact must have a window to evaluate series, but has none.")
    alpha = scorer.artifact.calibration.alpha if alpha is None else alpha
    table = checked_table(scorer.artifact.schema, frame)
    order = in_order(table.entities, _moments(table))
    ordered = table.take(order)
    verdicts = scorer.score_table(ordered, alpha=alpha, explain=0)
    standing = np.array(verdicts.history)
    kept = standing != Standing.REPEATED
    whole = _Series(
        None,
        _moments(ordered)[kept],
        labels.anomaly[order][kept],
        verdicts.score[kept],
        verdicts.is_anomaly[kept],
        window,
    )
    names = ordered.entities
    own = None if names is None else np.array(names, dtype=object)[kept]
    found = _together(list(_by_entity(whole, own)), scorer, summary, alpha)
    return replace(
        found,
        records=len(frame),
        repeated=int((~kept).sum()),
        lasting=int((standing == Standing.LASTING).sum()),
        new=int((standing == Standing.NEW_ENTITY).sum()),
        normal_labels=labels.normal,
        anomaly_labels=labels.other,
    )


def _moments(table: Table) -> NDArray[np.int64]:
    if table.times is None:
        raise AssertionError("a window takes a time: `check_window` refuses an artifact without")
    return table.times


def _by_entity(whole: _Series, names: NDArray[np.object_] | None) -> Iterator[_Series]:
    """Yield the series of each entity, whose records follow one another."""
    if names is None or not len(names):
        yield whole
        return
    starts = np.flatnonzero(names[1:] != names[:-1]) + 1
    for rows in np.split(np.arange(len(names)), starts):
        yield replace(
            whole,
            entity=str(names[rows[0]]),
            moments=whole.moments[rows],
            anomaly=whole.anomaly[rows],
            score=whole.score[rows],
            alarm=whole.alarm[rows],
        )


def _together(
    series: list[_Series], scorer: Scorer, summary: SeriesSummary, alpha: float
) -> SeriesEvaluation:
    """Sum the series of all entities up."""
    window = series[0].window
    each = tuple(one.evaluation() for one in series)
    anomaly = np.concatenate([one.anomaly[one.judged] for one in series])
    score = np.concatenate([one.score[one.judged] for one in series])
    clean = [one.judged & ~one.touched() for one in series]
    normals = sum(int(mask.sum()) for mask in clean)
    false = sum(int((one.alarm & mask).sum()) for one, mask in zip(series, clean, strict=True))
    delays = [delay for one in series for delay in _delays(one)]
    events = [event for one in series for event in one.events()]
    expected = expected_of_windows(scorer.artifact.calibration, summary, normals, alpha)
    incidents = Incidents.of(
        sum(one.false_incidents for one in each), normals, summary, window, alpha
    )
    areas = _areas(anomaly, score)
    volumes = [one.vus_pr for one in each if one.vus_pr is not None]
    return SeriesEvaluation(
        records=0,
        warming_up=sum(int((~one.judged).sum()) for one in series),
        repeated=0,
        judged=len(score),
        anomalies=int(anomaly.sum()),
        alpha=alpha,
        events=sum(one.events for one in each),
        events_unjudged=sum(not event.judged for event in events),
        found=sum(one.found for one in each),
        delay_records=float(np.median([records for records, _ in delays])) if delays else None,
        delay_seconds=float(np.median([seconds for _, seconds in delays])) if delays else None,
        normals=normals,
        false_alarms=false,
        false_alarm_rate=false / normals if normals else None,
        expected_false_alarms=expected.mean,
        false_alarms_by_chance=(expected.low, expected.high),
        budget_holds=expected.state(false) is not State.ABOVE if normals else None,
        false_incidents=incidents.seen,
        false_incidents_per_day=incidents.per_day,
        false_incidents_per_day_foretold=incidents.foretold,
        false_incidents_words=incidents.words,
        auroc=areas["auroc"],
        auprc=areas["auprc"],
        vus_pr=float(np.mean(volumes)) if volumes else None,
        buffer=window.size,
        entities=each,
    )


def _delays(series: _Series) -> Iterator[tuple[int, float]]:
    """Yield the records and seconds from the start of each event that is found to its alarm."""
    for event in series.events():
        if event.alarm is not None:
            since = series.moments[event.alarm] - series.moments[event.first]
            yield event.alarm - event.first, float(since) / SECOND


def _areas(anomaly: Bools, score: NDArray[np.float64]) -> dict[str, float | None]:
    """Return AUROC and AUPRC, where there are both normal records and anomalies."""
    if not anomaly.any() or anomaly.all():
        return {"auroc": None, "auprc": None}
    auroc, auprc = roc_auc_score(anomaly, score), average_precision_score(anomaly, score)
    return {"auroc": float(auroc), "auprc": float(auprc)}
