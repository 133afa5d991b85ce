"""records with a time -> alarms an hour and a day, at several alphas, before anything is deployed.

Only counts an hour are kept, so memory grows with the time that a file covers, not with its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from batch.reader import expand, open_source, pieces_of
from batch.records import Records
from batch.stage import in_order
from scoring.calibration import check_alpha
from scoring.errors import SchemaError
from scoring.frames import require_columns
from scoring.scorer import Scorer, decide

HOUR = timedelta(hours=1)
LEAST_ALARMS = 3  # in an hour, before the rate of that hour says anything


@dataclass(frozen=True)
class Hours:
    """Counts by hour, in order of time, without the hours that have no records.

    starts: (H,) hours since 1970. records: (H,). alarms: (H, A), a column for each alpha.
    """

    starts: NDArray[np.int64]
    records: NDArray[np.int64]
    alarms: NDArray[np.int64]

    def __add__(self, other: Hours) -> Hours:
        starts, place = np.unique(np.concatenate([self.starts, other.starts]), return_inverse=True)
        records = np.zeros(len(starts), np.int64)
        np.add.at(records, place, np.concatenate([self.records, other.records]))
        alarms = np.zeros((len(starts), self.alarms.shape[1]), np.int64)
        np.add.at(alarms, place, np.concatenate([self.alarms, other.alarms]))
        return Hours(starts, records, alarms)

    def by_day(self) -> Hours:
        """The same counts by day; `starts` stay in hours."""
        whole = Hours(self.starts // 24 * 24, self.records, self.alarms)
        return whole + Hours.none(self.alarms.shape[1])

    @classmethod
    def none(cls, alphas: int) -> Hours:
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, np.zeros((0, alphas), np.int64))


@dataclass(frozen=True)
class Burst:
    """Consecutive hours with more alarms than the budget allows, by the alert's ratio."""

    start: datetime
    hours: int
    alarms: int


@dataclass(frozen=True)
class AlphaReplay:
    """What one alpha would have meant."""

    alpha: float
    alarms: int
    rate: float
    hourly_mean: float
    hourly_most: int
    daily_mean: float
    daily_most: int
    alert_hours: int
    longest_burst: Burst | None


@dataclass(frozen=True)
class Replay:
    """What a file would have raised. Records without a time, or that break the schema, are only
    counted.
    """

    hours: Hours
    alphas: tuple[float, ...]
    untimed: int
    rejected: int

    def at(self, which: int, ratio: float) -> AlphaReplay:
        """One alpha; an hour alerts when its alarms are more than `ratio` times the budget."""
        hours, alpha = self.hours, self.alphas[which]
        alarms, daily = hours.alarms[:, which], hours.by_day().alarms[:, which]
        over = (alarms > ratio * alpha * hours.records) & (alarms >= LEAST_ALARMS)
        return AlphaReplay(
            alpha=alpha,
            alarms=int(alarms.sum()),
            rate=float(alarms.sum() / max(hours.records.sum(), 1)),
            hourly_mean=float(alarms.mean()) if len(alarms) else 0.0,
            hourly_most=int(alarms.max(initial=0)),
            daily_mean=float(daily.mean()) if len(daily) else 0.0,
            daily_most=int(daily.max(initial=0)),
            alert_hours=int(over.sum()),
            longest_burst=_longest_burst(hours.starts, alarms, over),
        )

    def to_json(self, ratio: float) -> dict[str, Any]:
        hours = self.hours
        return {
            "records": int(hours.records.sum()),
            "untimed": self.untimed,
            "rejected": self.rejected,
            "alert_ratio": ratio,
            "alphas": [_as_json(self.at(i, ratio)) for i in range(len(self.alphas))],
            "hours": [
                {"start": moment(s).isoformat(), "records": int(n), "alarms": a.tolist()}
                for s, n, a in zip(hours.starts, hours.records, hours.alarms, strict=True)
            ],
        }


def moment(hour: int | np.integer[Any]) -> datetime:
    """The start of an hour, in UTC."""
    return datetime.fromtimestamp(int(hour) * 3600, UTC)


def _as_json(found: AlphaReplay) -> dict[str, Any]:
    burst = found.longest_burst
    shown = burst and {**burst.__dict__, "start": burst.start.isoformat()}
    return {**found.__dict__, "longest_burst": shown}


def _longest_burst(
    starts: NDArray[np.int64], alarms: NDArray[np.int64], over: NDArray[np.bool_]
) -> Burst | None:
    best: tuple[int, int, int] | None = None  # hours, alarms, start
    begin = count = total = 0
    for hour, number in zip(starts[over].tolist(), alarms[over].tolist(), strict=True):
        if not count or hour != begin + count:
            begin, count, total = hour, 0, 0
        count, total = count + 1, total + number
        best = max(best or (0, 0, 0), (count, total, begin))
    return best and Burst(moment(best[2]), best[0], best[1])


def replay(
    scorer: Scorer, sources: Sequence[str], time: str, alphas: Sequence[float], threads: int = 1
) -> Replay:
    """Score files and count their alarms by hour."""
    for alpha in alphas:
        check_alpha(alpha, scorer.artifact.calibration.n)
    total = Replay(Hours.none(len(alphas)), tuple(alphas), 0, 0)
    for part in in_order(
        _records(scorer, expand(sources), time),
        lambda take: _count(scorer, take[0].parse(take[1]), time, tuple(alphas)),
        threads,
    ):
        total = Replay(
            total.hours + part.hours,
            total.alphas,
            total.untimed + part.untimed,
            total.rejected + part.rejected,
        )
    return total


def _records(scorer: Scorer, files: Sequence[str], time: str) -> Iterator[tuple[Any, Any]]:
    for name in files:
        with open_source(name, scorer.artifact.schema, None) as source:
            require_columns(pl.DataFrame(schema=list(source.columns)), [time], "--time")
            yield from ((source, piece) for piece in pieces_of(source, None))


def _count(scorer: Scorer, records: Records, time: str, alphas: tuple[float, ...]) -> Replay:
    rejected = len(records.rejects)
    if not len(records.table):
        return Replay(Hours.none(len(alphas)), alphas, 0, rejected)
    hours = hours_of(records.frame()[time])
    timed = hours.is_not_null().to_numpy() & records.good
    p_values = scorer.score_table(records.table, explain=0).p_value[timed]
    # one pass of the network serves every alpha
    alarms = np.stack([decide(p_values, alpha) for alpha in alphas], axis=1).astype(np.int64)
    at = hours.fill_null(0).to_numpy()[timed]
    counted = Hours(at, np.ones(len(at), np.int64), alarms) + Hours.none(len(alphas))
    return Replay(counted, alphas, int((records.good & ~timed).sum()), rejected)


def hours_of(times: pl.Series) -> pl.Series:
    """Hours since 1970 of ISO 8601 texts (UTC where they name no zone), of seconds, or of
    timestamps; null where there is no time.
    """
    if times.dtype == pl.String:
        return _hours_of_text(times)
    if times.dtype.is_numeric():
        return (times / 3600).floor().cast(pl.Int64, strict=False)
    if times.dtype not in (pl.Date, pl.Datetime):
        raise SchemaError(
            f"--time column '{times.name}' must hold times (ISO 8601, or seconds since 1970), got "
            f"{times.dtype}."
        )
    return times.dt.epoch("s") // 3600


def _hours_of_text(times: pl.Series) -> pl.Series:
    """Cell by cell: what one row holds says nothing of another."""
    text = pl.col("t").str.strip_chars().str.replace(" ", "T").str.replace("Z$", "+00:00")
    zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_zone="UTC")
    plain = [
        text.str.to_datetime(form, strict=False)
        for form in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
    ]
    day = text.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime)
    seconds = [moment.dt.epoch("s").cast(pl.Float64) for moment in (zoned, *plain, day)]
    number = pl.col("t").cast(pl.Float64, strict=False)
    found = pl.DataFrame({"t": times}).select(pl.coalesce(number, *seconds)).to_series()
    return (found / 3600).floor().cast(pl.Int64, strict=False)
