"""scores and segments -> p-values: each record is ranked within the calibration of its segment.

Mondrian conformal prediction (Vovk, Gammerman & Shafer, 2005, ch. 4.5): with a calibration of its
own, the false-alarm rate of a segment is promised for that segment, and not only on average over
all of them. A segment whose calibration records are too few to certify alpha is ranked within the
pooled calibration, and so are segments that the fit data did not have and records without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, RateLaw, allowed_rank
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.intake.text import has_control, one_line
from vaewatch.scoring.schema import Column, Schema, missing_code, other_code
from vaewatch.scoring.table import Table

OWN, POOLED = "own", "pooled"
LONGEST_LABEL = 100  # characters
OTHER = "other"  # the label of segments without a category of their own


def label_of(name: str) -> str:
    """Return a segment's name as verdicts, metrics and tables show it.

    A name with control characters, or a long one, is cut, and a hash keeps it apart from others.
    """
    if len(name) <= LONGEST_LABEL and not has_control(name) and name.isprintable():
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{one_line(name)[: LONGEST_LABEL - 9]}~{digest}"


def labels_of(column: Column) -> tuple[str | None, ...]:
    """Return the label of each code of a segment column; None for a missing segment."""
    names = tuple(map(label_of, column.categories))
    other = OTHER
    while other in names:
        other = f"({other})"
    return (*names, other, None)


def segment_column(schema: Schema) -> Column | None:
    """Return the column that holds the segment; None if the schema has none."""
    return next((c for c in schema.columns if c.name == schema.segment), None)


@dataclass(frozen=True)
class Ranked:
    """The ranks of N scores, each within the calibration that it is judged by.

    slots: (N,) places in `Segments.calibrations`; 0 is the pooled one.
    promised: (N,) whether normal records of its segment get such p-values as often as they say.
    """

    p_value: NDArray[np.float64]
    severity: NDArray[np.float64]
    slots: NDArray[np.int64]
    promised: NDArray[np.bool_]


@dataclass(frozen=True)
class Segments:
    """The calibrations of the segments that can certify alpha by themselves.

    Made by `vaewatch.scoring.budget.own`.

    Attributes:
        own: the calibration of each such segment, by its code in the column.
        pooled: the calibration of all others.
        rest: how many of its records are of segments that it judges, if known.
    """

    schema: Schema
    own: Mapping[int, Calibration]
    pooled: Calibration
    rest: int | None = None

    @cached_property
    def column(self) -> Column:
        column = segment_column(self.schema)
        assert column is not None
        return column

    @cached_property
    def labels(self) -> tuple[str | None, ...]:
        """The label of each code."""
        return labels_of(self.column)

    @cached_property
    def metric_labels(self) -> tuple[str, ...]:
        """The label of each code in metrics, where a missing segment is one of the others."""
        other = self.labels[other_code(self.column)] or OTHER
        return tuple(label or other for label in self.labels)

    @cached_property
    def calibrations(self) -> tuple[Calibration, ...]:
        """The pooled calibration, then those of `own` in its order."""
        return (self.pooled, *self.own.values())

    @property
    def own_scores(self) -> list[NDArray[np.float64]]:
        """The calibration scores of each segment that has its own, by slot from 1 on."""
        return [calibration.scores for calibration in self.own.values()]

    @cached_property
    def _slot_of(self) -> NDArray[np.int64]:
        """(codes,) slots: the place of each code's calibration in `calibrations`."""
        slots = np.zeros(missing_code(self.column) + 1, np.int64)
        slots[list(self.own)] = np.arange(1, len(self.own) + 1)
        return slots

    @cached_property
    def _names(self) -> NDArray[np.object_]:
        return np.array(self.labels, object)

    def codes(self, table: Table) -> NDArray[np.int32]:
        """Return the segment of each record, as a code of the column, (N,)."""
        return table.codes[:, self.schema.place[self.column.name]]

    def slots(self, codes: NDArray[np.int32], alpha: float | None = None) -> NDArray[np.int64]:
        """(N,) codes -> (N,) places in `calibrations` of those that judge them.

        At an alpha that a segment's own calibration cannot certify, the pooled one judges it.
        """
        slots = self._slot_of.take(codes)
        if alpha is None or alpha == self.pooled.alpha:
            return slots
        able = np.array([allowed_rank(alpha, c.n) >= 1 for c in self.calibrations])
        return np.where(able.take(slots), slots, 0)

    def rank(
        self, scores: NDArray[np.float64], codes: NDArray[np.int32], alpha: float | None = None
    ) -> Ranked:
        """Rank (N,) scores of records with (N,) codes of their segments."""
        slots = self.slots(codes, alpha)
        p_value, severity = np.empty(len(scores)), np.empty(len(scores))
        for slot in np.unique(slots).tolist():
            calibration, rows = self.calibrations[slot], np.flatnonzero(slots == slot)
            below = calibration.below(scores.take(rows))
            p_value[rows] = calibration.p_value_of.take(below)
            severity[rows] = calibration.severity_of.take(below)
        return Ranked(p_value, severity, slots, self.promised(alpha).take(slots))

    def promised(self, alpha: float | None = None) -> NDArray[np.bool_]:
        """(slots,) whether each calibration promises a rate to the records that it judges.

        The pooled one promises it to a random record of all. Where others judge some segments, it
        is left with the rest, which may be much louder.
        """
        if alpha is None or alpha == self.pooled.alpha:
            return self._promised
        able = [allowed_rank(alpha, own.n) >= 1 for own in self.own.values()]
        return np.array([not any(able), *able])

    @cached_property
    def _promised(self) -> NDArray[np.bool_]:
        return np.array([not self.own, *[True] * len(self.own)])

    def count_alarms(
        self,
        scores: NDArray[np.float64],
        codes: NDArray[np.int32],
        alpha: float | None = None,
    ) -> NDArray[np.int64]:
        """Count the alarms of each segment, (codes,), among (N,) scores with these codes."""
        alarms = self.pooled.alarms(self.rank(scores, codes, alpha).p_value, alpha)
        return self.count(codes[alarms])

    def present(self, records: NDArray[np.int64]) -> list[int]:
        """Return the codes that have records, of (codes,) counts, or a calibration of their own;
        that with most records first.
        """
        every = {*np.flatnonzero(records).tolist(), *self.own}
        return sorted(every, key=lambda code: (-int(records[code]), code))

    def expected(self, records: NDArray[np.int64], alpha: float | None = None) -> Expected:
        """Return the alarms that chance explains of (codes,) normal records by segment."""
        slots, laws = self.slots(np.arange(len(records), dtype=np.int32), alpha), self.laws(alpha)
        totals = np.zeros(len(laws), np.int64)
        np.add.at(totals, slots, records)
        both = zip(laws, totals.tolist(), strict=True)
        return Expected.together([(law, total) for law, total in both if total])

    @cached_property
    def expected_rates(self) -> NDArray[np.float64]:
        """(codes,) shares of normal records expected to alarm, at the artifact's alpha."""
        return np.array([law.mean for law in self.laws()]).take(self._slot_of)

    def laws(self, alpha: float | None = None) -> list[RateLaw]:
        """Return the law of the false-alarm rate at each place of `calibrations`; at 0, that of
        the segments that the pooled one judges, and so are those that cannot certify alpha.
        """
        at = self.pooled.alpha if alpha is None else alpha
        able = {code: own for code, own in self.own.items() if allowed_rank(at, own.n) >= 1}
        unable = [own for code, own in self.own.items() if code not in able]
        rest = self._law_of_the_rest(at, list(able.values()), unable)
        return [rest, *(able[code].rate_law(at) if code in able else rest for code in self.own)]

    def _law_of_the_rest(
        self, alpha: float, able: list[Calibration], unable: list[Calibration]
    ) -> RateLaw:
        """Return the law of the segments that the pooled calibration judges, all together: those
        without a calibration of their own, and those whose own is unable to certify alpha.

        Their n records in the pooled calibration say it. If c of these lie above the threshold,
        which comes from all, the rate is between Beta(c, n + 1 - c) and Beta(c + 1, n - c), as
        for the ends of Clopper & Pearson's interval: from 0 if c is 0, and up to 1 if c is n.
        Which they are is known within limits: no able calibration holds their scores, unless they
        tie with one; and of the unable ones at least those that their own hold, so that n is the
        least that it can be. Without any such record, the pooled law is all that is known.
        """
        pooled = self.pooled.rate_law(alpha)
        left = without(self.pooled.scores, [own.scores for own in able])
        others = len(without(left, [own.scores for own in unable]))
        n = len(left) + (0 if self.rest is None else self.rest - others)
        if not able or n <= 0:
            return pooled
        over = int(self.pooled.alarms(self.pooled.p_values(left), alpha).sum())
        every = int(self.pooled.alarms(self.pooled.p_values(self.pooled.scores), alpha).sum())
        high = min(over + max(0, n - len(left)), every, n)
        low = max(0, min(over - max(0, len(left) - n), high)) if pooled.low else 0
        if unable:
            low = low * n // max(n, len(left))
        return RateLaw(n, low, high + 1)

    def names(self, codes: NDArray[np.int32]) -> list[str | None]:
        """(N,) codes -> the label of each record's segment; None where it is missing."""
        found: list[str | None] = self._names.take(codes).tolist()
        return found

    def count(self, codes: NDArray[np.int32]) -> NDArray[np.int64]:
        """(N,) codes -> (codes,) records of each segment."""
        return np.bincount(codes, minlength=len(self.labels))


def without(
    scores: NDArray[np.float64], others: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the (N,) scores that none of the others holds, each as often as it is left."""
    values, counts = np.unique(scores, return_counts=True)
    taken = np.concatenate([*others, np.zeros(0)])
    place = np.minimum(np.searchsorted(values, taken), len(values) - 1)
    np.subtract.at(counts, place[values[place] == taken], 1)
    return np.repeat(values, np.maximum(counts, 0))


def kinds_of(slots: NDArray[np.int64]) -> list[str]:
    """(N,) slots -> whether each record is judged by its segment's own calibration, in a word."""
    return [OWN if slot else POOLED for slot in slots.tolist()]


def p_values(
    scores: NDArray[np.float64], table: Table, pooled: Calibration, segments: Segments | None
) -> NDArray[np.float64]:
    """Return the p-values of a table's (N,) scores, with segments or without."""
    if segments is None:
        return pooled.p_values(scores)
    return segments.rank(scores, segments.codes(table)).p_value
