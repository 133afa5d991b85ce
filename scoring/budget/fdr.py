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
from vaewatch.scoring.budget.expected import CONFIDENCE, shown
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
class Discoveries:
    """What was found among N records at a false discovery rate of q.

    p_value: the largest of a discovery; 0 if there are none.
    lowest: how many records have the lowest p-value that the calibration can give.
    least: how many records must have it before any is found.
    left_out: records besides, whose p-values are not uniform: of segments that the pooled
        calibration judges while others have their own.
    """

    q: float
    records: int
    found: int
    p_value: float
    lowest: int
    least: int
    left_out: int

    @classmethod
    def among(cls, counted: PValueCounts, q: float, n: int, left_out: int = 0) -> Discoveries:
        """Find the discoveries among records that n calibration records have judged."""
        cut, lowest = counted.cut(q), 1 / (n + 1)
        return cls(
            q=q,
            records=counted.records,
            found=counted.up_to(cut),
            p_value=cut,
            lowest=counted.up_to(lowest),
            least=math.ceil(counted.records * lowest / (q * EQUAL)),
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
    def remark(self) -> str | None:
        """What to know of the records that were left out; None if there are none."""
        if not self.left_out:
            return None
        records = "record is" if self.left_out == 1 else "records are"
        return (
            f"{self.left_out:,} {records} left out of the discoveries: their segments have no "
            "calibration of their own, and the pooled one, which judges them, promises nothing to "
            "them while other segments have theirs. Train or recalibrate with more normal records "
            "of these segments, or train without --segment."
        )

    @property
    def _why(self) -> str:
        """Why nothing was found, and which calibration could do better."""
        if not self.lowest:
            which = "records that took part" if self.left_out else "records"
            return f"all {self.records:,} {which} may be normal"
        needed = math.ceil(self.records / (self.q * EQUAL * self.lowest)) - 1
        have = "record has" if self.lowest == 1 else "records have"
        return (
            f"{self.lowest:,} {have} the lowest p-value that the calibration can give, but among "
            f"{self.records:,} it takes {self.least:,}; with {needed:,} calibration records "
            f"{self.lowest:,} could be enough"
        )

    def require_resolved(self, n: int) -> None:
        """Refuse to say that nothing was found, where there are anomalies that n calibration
        records cannot tell apart: more records have their lowest p-value than chance explains.

        Raises:
            CalibrationError: more calibration records, or a larger rate, could find them.
        """
        if self.found or self.lowest <= Chance(self.records, 1, n).quantile((1 + CONFIDENCE) / 2):
            return
        enough = self.records / ((n + 1) * self.lowest)
        larger = f", or ask for {round_up(enough):g} or more" if round_up(enough) < 1 else ""
        raise CalibrationError(
            f"a false discovery rate of {self.q:g} takes more calibration records than {n:,} for "
            f"this input: {self._why}. Recalibrate on more normal records{larger}."
        )


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
        raise SettingError(f"the false discovery rate must be between 0 and 1, got {q:g}.")


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
