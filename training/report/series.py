"""SeriesFindings <-> report.json: what the report of windows needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vaewatch.training.progress import Step
from vaewatch.training.records.profile import ColumnProfile
from vaewatch.training.report.findings import findings_bytes, read_findings, tuples

Lines = tuple[tuple[float, ...], ...]  # of each feature that is drawn, its W values


@dataclass(frozen=True)
class Picture:
    """One window. kind: typical, rare or drawn. ends: its last record, for people."""

    kind: str
    ends: str
    score: float
    observed: Lines
    expected: Lines


@dataclass(frozen=True)
class Span:
    """The out-of-fold alarms of a block of time at the artifact's alpha."""

    start: str
    end: str
    records: int
    alarms: int
    incidents: int


@dataclass(frozen=True)
class SeriesFindings:
    """What the report shows of a fit of windows.

    Attributes:
        seen: windows that a served member sees in an epoch. batch: windows of a step.
        features: the names of those that are drawn. alpha: at which alarms are counted in spans.
    """

    profiled: int
    columns: tuple[ColumnProfile, ...]
    log: tuple[Step, ...]
    batch: int
    seen: int
    features: tuple[str, ...]
    pictures: tuple[Picture, ...]
    alpha: float
    spans: tuple[Span, ...]

    def to_bytes(self) -> bytes:
        return findings_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> SeriesFindings:
        """Read what `to_bytes` wrote.

        Raises:
            ArtifactError: it is not as this release writes it.
        """
        return read_findings(cls, content, _READ)


_READ: dict[str, Any] = {
    "profiled": int,
    "columns": tuples(ColumnProfile),
    "log": tuples(Step),
    "batch": int,
    "seen": int,
    "features": tuple,
    "pictures": tuples(Picture),
    "alpha": float,
    "spans": tuples(Span),
}
