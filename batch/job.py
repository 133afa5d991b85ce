"""What a job is asked to do, and what it has counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SEVERITIES


@dataclass(frozen=True)
class Job:
    """Settings of a job.

    to: the output's format: csv, parquet or ndjson; None for that of the first file.
    fdr: the largest share of false ones among the anomalies, which then are discoveries; it takes
        the place of alpha.
    shard: (i, n) for shard i of n; `sources` are the files of the shard, which may be none.
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

    def identity(self) -> dict[str, Any]:
        """The settings that decide the output's bytes, beside the inputs and the artifact."""
        kept = asdict(self)
        free = {"threads", "drafts", "resume", "shard"}
        # at their defaults they decide nothing; journals of earlier releases do not have them
        free |= {name for name in ("prefix", "fdr") if not kept[name]}
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
    """

    scored: int = 0
    written: int = 0
    anomalies: int = 0
    rejected: int = 0
    severities: NDArray[np.int64] = field(default_factory=_no_severities)
    drift: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    segments: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.scored + other.scored,
            self.written + other.written,
            self.anomalies + other.anomalies,
            self.rejected + other.rejected,
            self.severities + other.severities,
            _sum(self.drift, other.drift),
            _sum(self.segments, other.segments),
        )

    @property
    def records(self) -> int:
        return self.scored + self.rejected

    @property
    def anomaly_rate(self) -> float:
        """The share of anomalies among the scored records."""
        return self.anomalies / self.scored if self.scored else 0.0

    def to_json(self) -> dict[str, Any]:
        lists = {"severities": self.severities.tolist(), "drift": self.drift.tolist()}
        if self.segments.size:
            lists["segments"] = self.segments.tolist()
        return {**{name: getattr(self, name) for name in _NUMBERS}, **lists}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Counts:
        drift = np.array(data["drift"], np.int64)
        severities = np.array(data["severities"], np.int64)
        segments = np.array(data.get("segments", np.zeros((0, 0))), np.int64)
        numbers = {name: int(data[name]) for name in _NUMBERS}
        return cls(**numbers, severities=severities, drift=drift, segments=segments)


# called with the counts so far and the share of the input that is done, if that is known; first
# with what an earlier job has counted
Progress = Callable[[Counts, float | None], None]


def _sum(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    return left + right if left.size and right.size else left if left.size else right


_NUMBERS = ("scored", "written", "anomalies", "rejected")
