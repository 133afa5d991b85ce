"""p-values of many records -> those of which at most a share q are false: the discoveries.

Benjamini & Hochberg (1995): of N p-values, all up to the largest p with p <= q C / N are
discoveries, C being how many are at most p. Conformal p-values against one calibration sample are
not independent, but positively dependent (PRDS), and so the share of false discoveries is at most
q on average all the same (Bates, Candès, Lei, Romano & Sesia, 2023).

A calibration of n records gives n + 1 different p-values, so that counting each is enough: memory
does not grow with N.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import (
    allowed_rank,
    least_alpha,
    records_needed,
    round_up,
)
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.chances import Chances
from vaewatch.scoring.budget.expected import TAIL, shown
from vaewatch.scoring.errors import CalibrationError, SettingError

ALONE = (  # what p-values must be of
    "an artifact that judges each record by itself: windows that overlap share records, so their "
    "p-values are not independent and no share could be promised."
)
EQUAL = 1 + 1e-12  # q C / N and p are rounded differently; where they are equal, p is a discovery


@dataclass(frozen=True)
class PValueCounts:
    """How many records have each p-value.

    values: (V,) different p-values, ascending. counts: (V,) records.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, p_values: NDArray[np.float64]) -> PValueCounts:
        """Count (N,) p-values."""
        return cls(*np.unique(p_values, return_counts=True))

    def __add__(self, other: PValueCounts) -> PValueCounts:
        both = np.concatenate([self.values, other.values])
        values, place = np.unique(both, return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return PValueCounts(values, counts)

    @property
    def records(self) -> int:
        return int(self.counts.sum())

    def up_to(self, p_value: float) -> int:
        """Return how many records have at most this p-value."""
        return int(self.counts[self.values <= p_value].sum())

    def cut(self, q: float) -> float:
        """Return the largest p-value of a discovery; 0 if there are none."""
        kept = self.values * self.records <= q * np.cumsum(self.counts) * EQUAL
        return float(self.values[kept][-1]) if kept.any() else 0.0


@dataclass(frozen=True)
class Judged:
    """The p-values of the records that a calibration of n records judges."""

    counted: PValueCounts
    n: int

    @property
    def records(self) -> int:
        return self.counted.records

    @property
    def lowest(self) -> int:
        """How many records have the lowest p-value that the calibration can give."""
        return self.counted.up_to(1 / (self.n + 1))

    @property
    def chance(self) -> Chance:
        """How many normal records have it."""
        return Chance(self.records, 1, self.n)


@dataclass(frozen=True)
class Discoveries:
    """What was found among N records at a false discovery rate of q.

    With several calibrations, `lowest`, `least` and `n` are of that which comes nearest to finding
    anything if none does.

    p_value: the largest of a discovery; 0 if there are none.
    n: the records of the calibration.
    lowest: how many records have the lowest p-value that their calibration can give, of as many
        records as this one or more.
    least: how many must have it before any is found.
    segments: whether each segment has its own calibration.
    out_of_reach: records of segments whose calibration has no p-value as low as q.
    left_out: records besides, whose p-values are not uniform: of segments that the pooled
        calibration judges while others have their own.
    """

    q: float
    records: int
    found: int
    p_value: float
    n: int
    lowest: int
    least: int
    segments: bool
    out_of_reach: int
    left_out: int

    @classmethod
    def among(
        cls, judged: Sequence[Judged], q: float, *, segments: bool = False, left_out: int = 0
    ) -> Discoveries:
        """Find the discoveries among the records that calibrations have judged, each its own."""
        counted = sum((each.counted for each in judged), PValueCounts.of(np.zeros(0)))
        cut = counted.cut(q)
        lowest, n = _nearest(judged)
        return cls(
            q=q,
            records=counted.records,
            found=counted.up_to(cut),
            p_value=cut,
            n=n,
            lowest=lowest,
            least=math.ceil(counted.records / ((n + 1) * q * EQUAL)),
            segments=segments,
            out_of_reach=sum(e.records for e in judged if allowed_rank(q, e.n) < 1),
            left_out=left_out,
        )

    @property
    def false(self) -> float:
        """The largest number of false discoveries to expect."""
        return self.q * self.found

    @property
    def words(self) -> str:
        """What was found, as one phrase; if nothing, whether the calibration is too small."""
        if self.found:
            number = f"{self.found:,} {'discovery' if self.found == 1 else 'discoveries'}"
            return (
                f"{number} at a false discovery rate of {self.q:g} (p-value up to "
                f"{self.p_value:.2g}): on average at most {100 * self.q:.3g}% of them false "
                f"({shown(self.false)})"
            )
        nothing = f"no discoveries at a false discovery rate of {self.q:g}"
        return f"{nothing}: {self._why}"

    @property
    def remarks(self) -> list[str]:
        """What to know of the records that cannot be discoveries, whatever they are."""
        found = []
        if self.left_out:
            found.append(
                f"{_records(self.left_out)} left out of the discoveries: their segments have no "
                "calibration of their own, and the pooled one, which judges them, promises them "
                "nothing while other segments have theirs. Train or recalibrate with more normal "
                "records of these segments, or train without --segment."
            )
        if self.out_of_reach and self.segments:
            found.append(
                f"{_records(self.out_of_reach)} of segments whose calibrations have fewer than "
                f"{records_needed(self.q):,} records, which give no p-value as low as a false "
                f"discovery rate of {self.q:g}, so that none can be a discovery. Recalibrate with "
                "more normal records of these segments, or ask for a larger rate."
            )
        return found

    @property
    def _why(self) -> str:
        """Why nothing was found, and which calibration could do better."""
        if not self.lowest:
            which = "records that took part" if self.left_out else "records"
            return f"all {self.records:,} {which} may be normal"
        needed = math.ceil(self.records / (self.q * EQUAL * self.lowest)) - 1
        have = "record has" if self.lowest == 1 else "records have"
        whose, of = ("their segment's", " of it") if self.segments else ("the", "")
        return (
            f"{self.lowest:,} {have} the lowest p-value that {whose} calibration can give, but "
            f"among {self.records:,} it takes {self.least:,}; with {needed:,} calibration records"
            f"{of} {self.lowest:,} could be enough"
        )

    def require_resolved(self, judged: Sequence[Judged]) -> None:
        """Refuse to say that nothing was found, where there are anomalies that the calibrations
        cannot tell apart: more records have the lowest p-value than chance explains.

        Raises:
            CalibrationError: more calibration records, or a larger rate, could find them.
        """
        if self.found or not _stand_out([each for each in judged if each.records]):
            return
        enough = self.records / ((self.n + 1) * self.lowest)
        larger = f", or ask for {round_up(enough):g} or more" if round_up(enough) < 1 else ""
        raise CalibrationError(
            f"a false discovery rate of {self.q:g} takes more calibration records than "
            f"{self.n:,} for this input: {self._why}. Recalibrate on more normal records{larger}."
        )


def _records(n: int) -> str:
    return f"{n:,} {'record is' if n == 1 else 'records are'}"


def _stand_out(judged: Sequence[Judged]) -> bool:
    """Whether more records have the lowest p-value of a calibration, or of all calibrations
    together, than normal ones have by chance in all but one of 200 jobs.
    """
    if len(judged) < 2:
        return any(each.lowest > each.chance.quantile(1 - TAIL) for each in judged)
    together = Chances(tuple(each.chance for each in judged))
    if sum(each.lowest for each in judged) > together.quantile(1 - TAIL / 2):
        return True
    tail = TAIL / 2 / len(judged)
    return any(each.lowest > each.chance.quantile(1 - tail) for each in judged)


def _nearest(judged: Sequence[Judged]) -> tuple[int, int]:
    """Return how many records have the lowest p-value that their calibrations can give, of those
    of n records or more, and n: that which would be the first to find any as q grows.
    """
    best, lowest = (0, max((each.n for each in judged), default=0)), 0
    for each in sorted(judged, key=lambda each: -each.n):
        lowest += each.lowest
        best = max(best, (lowest, each.n), key=lambda found: found[0] * (found[1] + 1))
    return best


def discoveries(p_values: NDArray[np.float64], q: float) -> NDArray[np.bool_]:
    """Return which of (N,) p-values are discoveries at a false discovery rate of q, (N,)."""
    check_rate_of_discoveries(q)
    return p_values <= PValueCounts.of(p_values).cut(q)


def check_rate_of_discoveries(q: float) -> None:
    """Refuse a rate that is none.

    Raises:
        SettingError: it is not between 0 and 1.
    """
    if not 0 < q < 1:
        raise SettingError(f"the false discovery rate must be above 0 and below 1, got {q:g}.")


def check_fdr(q: float, n: int) -> None:
    """Refuse a false discovery rate at which n calibration records could never find anything.

    Raises:
        SettingError: it is not between 0 and 1.
        CalibrationError: more calibration records could.
    """
    check_rate_of_discoveries(q)
    if allowed_rank(q, n) < 1:
        raise CalibrationError(
            f"a false discovery rate of {q:g} takes at least {records_needed(q):,} calibration "
            f"records, got {n:,}: their lowest p-value, {1 / (n + 1):.2g}, is above the rate, so "
            "that nothing could ever be found. Give more normal records, or ask for "
            f"{least_alpha(n):g} or more."
        )
