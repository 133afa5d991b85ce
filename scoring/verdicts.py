"""The verdicts on N records, and on one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.fdr import ALONE, discoveries
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.score import Parts
from vaewatch.scoring.series.course import Course


@dataclass(frozen=True)
class Verdict:
    """One record's verdict."""

    score: float
    p_value: float
    severity: float
    is_anomaly: bool
    reasons: tuple[Reason, ...]
    parts: Parts | None = None
    segment: str | None = None
    calibration: str | None = None
    history: str | None = None
    courses: tuple[Course, ...] = field(default=(), kw_only=True, compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class Verdicts:
    """N verdicts. An index gives a `Verdict`; a slice, a mask or indices give `Verdicts`.

    Attributes:
        score: (N,) nats; higher is more anomalous. NaN, as are p-value and severity, of a record
            without a full window, which is not judged.
        p_value: (N,) share of normal records that score at least as high.
        severity: (N,) -log10 of the p-value.
        is_anomaly: (N,) whether the p-value is at most alpha.
        reasons: of each record; empty for records that were not explained.
        parts: of each score, where they were asked for.
        segment: of each record, its name; None where it is missing. Only where the artifact has a
            segment.
        calibration: which one judged each record: `own`, of its segment, or `pooled`. Only where
            the artifact has a segment.
        history: how each record stands to those of its entity before it. Only where the artifact
            has a window.
        courses: by record, the column of each of its reasons in the window. Only where the
            artifact has a window.
        promised: (N,) whether the calibration that judged each record promises a rate to its
            segment. Only where the artifact has a segment.
    """

    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    severity: NDArray[np.float64]
    is_anomaly: NDArray[np.bool_]
    reasons: Sequence[tuple[Reason, ...]]
    parts: Sequence[Parts] | None = None
    segment: Sequence[str | None] | None = None
    calibration: Sequence[str] | None = None
    history: Sequence[str] | None = None
    courses: Mapping[int, tuple[Course, ...]] = field(default_factory=dict)
    promised: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.score)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any] | Sequence[int]) -> Verdicts: ...
    def __getitem__(self, index: Any) -> Verdict | Verdicts:
        if not isinstance(index, SupportsIndex) or isinstance(index, np.ndarray):
            rows = np.arange(len(self))[index]
            if rows.ndim > 1:
                raise IndexError("an index must be a whole number, a slice, a mask or a list.")
            if rows.ndim == 1:
                return self._taken(rows)
            index = rows
        index = range(len(self))[int(index)]
        return Verdict(
            float(self.score[index]),
            float(self.p_value[index]),
            float(self.severity[index]),
            bool(self.is_anomaly[index]),
            self.reasons[index],
            None if self.parts is None else self.parts[index],
            None if self.segment is None else self.segment[index],
            None if self.calibration is None else self.calibration[index],
            None if self.history is None else self.history[index],
            courses=self.courses.get(index, ()),
        )

    def _taken(self, rows: NDArray[np.int64]) -> Verdicts:
        return Verdicts(
            self.score[rows],
            self.p_value[rows],
            self.severity[rows],
            self.is_anomaly[rows],
            [self.reasons[i] for i in rows.tolist()],
            None if self.parts is None else [self.parts[i] for i in rows.tolist()],
            None if self.segment is None else [self.segment[i] for i in rows.tolist()],
            None if self.calibration is None else [self.calibration[i] for i in rows.tolist()],
            None if self.history is None else [self.history[i] for i in rows.tolist()],
            {k: own for k, i in enumerate(rows.tolist()) if (own := self.courses.get(i))},
            None if self.promised is None else self.promised[rows],
        )

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(N,) which records have a verdict: all but those without a full window."""
        return ~np.isnan(self.score)

    def discoveries(self, q: float) -> NDArray[np.bool_]:
        """Return which of the N records are anomalies of which at most a share q is false, on
        average: Benjamini & Hochberg's choice among their p-values, whatever alpha is. Where
        segments have calibrations of their own, records that the pooled one judges are left out:
        their p-values are not uniform.

        Returns:
            (N,) as a mask: `verdicts[verdicts.discoveries(0.1)]`.

        Raises:
            SettingError: q is not between 0 and 1, or the artifact has a window.
        """
        if self.history is not None:
            raise SettingError(f"discoveries takes verdicts of {ALONE} Use is_anomaly.")
        if self.promised is None:
            return discoveries(self.p_value, q)
        found = self.promised.copy()
        found[found] = discoveries(self.p_value[found], q)
        return found

    def __iter__(self) -> Iterator[Verdict]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Return whether all of both is equal; the one that dataclasses get cannot take arrays."""
        return isinstance(other, Verdicts) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


def joined(parts: Sequence[Verdicts]) -> Verdicts:
    """Join verdicts as they follow one another: what each says of a score, its reasons, and how
    the record stands to those before it.
    """
    words = [each.history for each in parts if each.history is not None]
    starts = accumulate(map(len, parts), initial=0)
    return Verdicts(
        np.concatenate([each.score for each in parts]),
        np.concatenate([each.p_value for each in parts]),
        np.concatenate([each.severity for each in parts]),
        np.concatenate([each.is_anomaly for each in parts]),
        [reasons for each in parts for reasons in each.reasons],
        history=[word for some in words for word in some] if len(words) == len(parts) else None,
        courses={
            start + row: own
            for start, each in zip(starts, parts, strict=False)
            for row, own in each.courses.items()
        },
    )
