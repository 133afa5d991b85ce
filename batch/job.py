"""What a job is asked to do, and what it has counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.batch.incidents.counts import IncidentCounts
from vaewatch.batch.series.counts import SeriesCounts
from vaewatch.scoring.budget.calibration import SEVERITIES

# settings of later releases, of which journals of earlier ones do not know
_SINCE = ("prefix", "fdr", "entities", "sort", "incidents", "merge_gap")
MAX_ENTITIES = 10_000  # whose histories take 63 MB, of windows of 64 records with 20 numbers


@dataclass(frozen=True)
class Job:
    """Settings of a job.

    to: the output's format: csv, parquet or ndjson; None for that of the first file.
    fdr: the largest share of false ones among the anomalies, which then are discoveries; it takes
        the place of alpha.
    shard: (i, n) for shard i of n; `sources` are the files of the shard, which may be none.
    entities: (i, n) in their place, where records are judged with those before them: the job reads
        all files, and scores the entities of shard i of n.
    sort: whether records are put in order of entity and time first, in memory.
    max_entities: whose newest records are kept at a time.
    incidents: where to write them; merge_gap: no further apart are alarms that belong together.
    """

    sources: tuple[str, ...]
    out: str
    rejects: str | None = None
    to: str | None = None
    columns: tuple[str, ...] | None = None
    only_anomalies: bool = False
    delimiter: str | None = None
    alpha: float | None = None
    fdr: float | None = None
    explain: int | None = None
    prefix: str = ""  # of the columns that are added
    threads: int = 1
    drafts: str = "."  # the folder in which an output at a URL grows before it is sent
    resume: bool = False
    shard: tuple[int, int] | None = None
    entities: tuple[int, int] | None = None
    sort: bool = False
    max_entities: int = MAX_ENTITIES
    incidents: str | None = None
    merge_gap: str | None = None

    @property
    def first_shard(self) -> bool:
        """Whether the job sets aside what cannot be read; of jobs that read the same, one does."""
        return self.entities is None or self.entities[0] == 0

    def identity(self) -> dict[str, Any]:
        """The settings that decide the output's bytes, beside the inputs and the artifact."""
        kept = asdict(self)
        free = {"threads", "drafts", "resume", "shard"}
        # at their defaults they decide nothing; journals of earlier releases do not have them
        free |= {name for name in _SINCE if not kept[name]}
        free |= {"max_entities"} if self.max_entities == MAX_ENTITIES else set()
        return {name: kept[name] for name in kept if name not in free}


def _no_severities() -> NDArray[np.int64]:
    return np.zeros(len(SEVERITIES) + 1, np.int64)


@dataclass(frozen=True)
class Counts:
    """Counts of records, each of which is either scored or rejected.

    written: records in the output; fewer than were scored if only anomalies are asked for.
    severities: (len(SEVERITIES) + 1,) scored records by severity; the last bin has no upper edge.
    drift: (columns, bins) as `DriftReference.count` returns it, or (0, 0).
    segments: (codes, 2) scored records and anomalies of each segment, by its code, or (0, 0).
    series: how records stand to those before them, where they are judged with these.
    incidents: of the whole job, once it is done, if it was asked for them.
    """

    scored: int = 0
    written: int = 0
    anomalies: int = 0
    rejected: int = 0
    severities: NDArray[np.int64] = field(default_factory=_no_severities)
    drift: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    segments: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    series: SeriesCounts | None = None
    incidents: IncidentCounts | None = None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.scored + other.scored,
            self.written + other.written,
            self.anomalies + other.anomalies,
            self.rejected + other.rejected,
            self.severities + other.severities,
            _sum(self.drift, other.drift),
            _sum(self.segments, other.segments),
            _both(self.series, other.series),
            self.incidents or other.incidents,
        )

    @property
    def records(self) -> int:
        return self.scored + self.rejected

    @property
    def judged(self) -> int:
        """The scored records that have a verdict: all, or those with a full window."""
        return self.scored if self.series is None else self.series.judged

    @property
    def anomaly_rate(self) -> float:
        """The share of anomalies among the judged records."""
        return self.anomalies / self.judged if self.judged else 0.0

    def to_json(self) -> dict[str, Any]:
        lists: dict[str, Any] = {
            "severities": self.severities.tolist(),
            "drift": self.drift.tolist(),
        }
        if self.segments.size:
            lists["segments"] = self.segments.tolist()
        if self.series is not None:
            lists["series"] = self.series.to_json()
        if self.incidents is not None:
            lists["incidents"] = self.incidents.to_json()
        return {**{name: getattr(self, name) for name in _NUMBERS}, **lists}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        drift = np.array(data["drift"], np.int64)
        severities = np.array(data["severities"], np.int64)
        segments = np.array(data.get("segments", np.zeros((0, 0))), np.int64)
        numbers = {name: int(data[name]) for name in _NUMBERS}
        incidents = None
        series = SeriesCounts.from_json(data["series"]) if "series" in data else None
        if "incidents" in data:
            incidents = IncidentCounts.from_json(data["incidents"])
        found: dict[str, Any] = {**numbers, "severities": severities, "drift": drift}
        return cls(**found, segments=segments, series=series, incidents=incidents)


# called with the counts so far and the share of the input that is done, if that is known; first
# with what an earlier job has counted
Progress = Callable[[Counts, float | None], None]


def _sum(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return left + right if left.size and right.size else left if left.size else right


def _both(left: SeriesCounts | None, right: SeriesCounts | None) -> SeriesCounts | None:
    return left + right if left and right else left or right


_NUMBERS = ("scored", "written", "anomalies", "rejected")
