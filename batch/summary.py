"""counts of a finished job -> its summary."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vaewatch.batch.job import Counts, Job
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.batch.writer import write_small
from vaewatch.scoring.artifact import Artifact
from vaewatch.scoring.budget.calibration import SEVERITIES
from vaewatch.scoring.budget.expected import Expected, State
from vaewatch.scoring.budget.fdr import Discoveries
from vaewatch.scoring.budget.segments import kinds_of
from vaewatch.scoring.budget.windows import Incidents, expected_of_windows

BROAD = 0.1  # an alpha of which more come than of most others, so that a change shows sooner
BANDS = (0.5, 1.0, 2.0, 3.0, np.inf)  # upper edges, each one of SEVERITIES


@dataclass(frozen=True)
class SegmentCount:
    """The scored records of one segment.

    calibration: the one that judged it, own or pooled. expected: the alarms to expect of as many
    normal records; by the pooled one, which promises nothing for it alone, an upper bound, by the
    calibration records of all such segments. None where a false discovery rate decides.
    bound: whether it is an upper bound only.
    """

    segment: str | None
    calibration: str
    records: int
    anomalies: int
    expected: float | None
    bound: bool

    @property
    def rate(self) -> float:
        return self.anomalies / self.records

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "anomaly_rate": self.rate}


@dataclass(frozen=True, eq=False)
class Summary:
    """A finished job.

    seconds: how long this run took, which scored all but the `earlier`.
    found: the discoveries, if the job was asked for them: then they are its anomalies.
    """

    artifact: Artifact
    job: Job
    counts: Counts
    earlier: Counts
    seconds: float
    found: Discoveries | None = None

    @property
    def rate(self) -> float:
        """The records a second that this run scored."""
        return (self.counts.records - self.earlier.records) / self.seconds

    @property
    def expected(self) -> Expected:
        """The alarms that chance explains among the judged records."""
        segments, counts = self.artifact.segments, self.counts.segments
        if segments is not None and counts.size:
            return segments.expected(counts[:, 0], self.job.alpha)
        calibration, judged = self.artifact.calibration, self.counts.judged
        if (series := self.artifact.manifest.series) is not None:
            return expected_of_windows(calibration, series, judged, self.job.alpha)
        return Expected.at(calibration, judged, self.job.alpha)

    @property
    def incidents(self) -> Incidents | None:
        """The incidents beside those that were foretold; None where there are no windows."""
        window, series = self.artifact.window, self.artifact.manifest.series
        if window is None or series is None:
            return None
        counted = self.counts.series or SeriesCounts()
        return Incidents.of(counted.incidents, counted.judged, series, window, self.alpha)

    @property
    def alpha(self) -> float:
        """The false-alarm rate of the verdicts, unless a false discovery rate decides."""
        return self.artifact.calibration.alpha if self.job.alpha is None else self.job.alpha

    def drift(self) -> dict[str, float]:
        """PSI of each column against the records of training; empty if nothing was scored."""
        if not self.counts.scored:
            return {}
        psi = self.artifact.drift.psi(self.counts.drift)
        return dict(zip(self.artifact.schema.names, psi.tolist(), strict=True))

    def segments(self) -> list[SegmentCount]:
        """The records and anomalies of each segment that has records, that with most first."""
        segments, counts = self.artifact.segments, self.counts.segments
        if segments is None or not counts.size:
            return []
        slots = segments.slots(np.arange(len(counts), dtype=np.int32), self.job.alpha)
        kinds, laws, found = kinds_of(slots), segments.laws(self.job.alpha), []
        for code in np.flatnonzero(counts[:, 0]).tolist():
            records, anomalies = counts[code].tolist()
            law = laws[slots[code]]
            expected = records * law.mean if self.job.fdr is None else None
            bound = expected is not None and (not slots[code] or law.bounded)
            label = segments.labels[code]
            found.append(SegmentCount(label, kinds[code], records, anomalies, expected, bound))
        return sorted(found, key=lambda each: -each.records)

    def to_json(self) -> dict[str, Any]:
        found = self._all_together()
        if self.artifact.segments is not None:
            found["segments"] = [each.to_json() for each in self.segments()]
        if (incidents := self.incidents) is not None:
            found["series"] = self._series(incidents)
        if self.counts.incidents is not None:
            found["incidents"] = self.counts.incidents.to_json()
        return found

    def _series(self, incidents: Incidents) -> dict[str, Any]:
        counted = (self.counts.series or SeriesCounts()).to_json()
        first = counted.pop("first")
        return {
            **counted,
            "first_out_of_order": first and {"file": self.job.sources[first[0]], "line": first[1]},
            "entity_days": incidents.days,
            "incidents_per_day": incidents.per_day,
            "incidents_per_day_foretold": incidents.foretold,
            "incidents_words": incidents.words,
        }

    def _all_together(self) -> dict[str, Any]:
        counts = self.counts
        return {
            "model": {"name": self.artifact.name, "version": self.artifact.version},
            "inputs": list(self.job.sources),
            "output": self.job.out,
            "rejects": self.job.rejects,
            **self._decided_by(),
            "records": counts.records,
            "scored": counts.scored,
            "written": counts.written,
            "rejected": counts.rejected,
            "anomalies": counts.anomalies,
            "anomaly_rate": counts.anomaly_rate,
            "expected": self._expected() if self.found is None else None,
            "severity": {
                "upper": [*SEVERITIES, None],
                "records": counts.severities.tolist(),
            },
            "column_drift_psi": self.drift(),
            "seconds": round(self.seconds, 3),
            "records_of_earlier_runs": self.earlier.records,
            "records_per_second": round(self.rate),
        }

    def _decided_by(self) -> dict[str, Any]:
        """Return what an anomaly is: a p-value of at most alpha, or a discovery."""
        if self.found is None:
            return {"alpha": self.alpha}
        return {
            "alpha": None,
            "fdr": {**asdict(self.found), "false": self.found.false, "words": self.found.words},
        }

    @property
    def words(self) -> str:
        """How many of the anomalies are false, as far as it can be known."""
        if self.found is not None:
            return self.found.words
        if self.counts.series is not None and not self.counts.judged:
            return "no alarms: no record had a full window"
        return f"{self.expected.words(self.counts.anomalies)}{self._unlike()}"

    def _unlike(self) -> str:
        """Say that many more records score high than of normal traffic, where alarms alone do not
        tell. How many windows that share records are worth is known of alarms only.
        """
        counts, calibration = self.counts, self.artifact.calibration
        several = self.artifact.segments is not None or counts.series is not None
        if several or self.alpha >= BROAD:
            return ""
        if self.expected.state(counts.anomalies) is not State.WITHIN:
            return ""
        number = int(counts.severities[SEVERITIES.index(1.0) + 1 :].sum())
        expected = Expected.at(calibration, counts.scored, BROAD)
        if expected.state(number) is not State.ABOVE:
            return ""
        return (
            f", but {number:,} records have a severity over 1, {expected.number} expected: these "
            "records are not like those that calibrated"
        )

    @property
    def false(self) -> float:
        """How many false anomalies are to be expected."""
        return self.expected.mean if self.found is None else self.found.false

    def _expected(self) -> dict[str, Any]:
        expected, alarms = self.expected, self.counts.anomalies
        return {
            "alarms": expected.mean,
            "bound": expected.bound,
            "by_chance": [expected.low, expected.high],
            "most_false": expected.most_false(alarms),
            "worst_false": expected.worst_false(alarms),
            "words": self.words,
        }


@dataclass(frozen=True)
class Band:
    """Records in a range of severities; normal: the share of normal traffic that falls in it."""

    name: str
    records: int
    share: float
    normal: float


def severity_bands(counts: Counts) -> list[Band]:
    """The counts in a few bands. The p-values of normal traffic are uniform, so that a share of
    10^-s has a severity of s or more.
    """
    upper = np.array([*SEVERITIES, np.inf])
    bands, low = [], 0.0
    for high in BANDS:
        records = int(counts.severities[(upper > low) & (upper <= high)].sum())
        name = f"{low:g} to {high:g}" if high < np.inf else f"over {low:g}"
        normal = 10**-low - (10**-high if high < np.inf else 0.0)
        bands.append(Band(name, records, records / max(counts.judged, 1), normal))
        low = high
    return bands


def write_summary(summary: Summary, target: str) -> None:
    """Write a summary as JSON, at a path or a URL."""
    write_small(target, json.dumps(summary.to_json(), indent=1).encode() + b"\n")
