"""alarms among records, bucket by bucket -> the chance that normal records alone bring so many."""

from __future__ import annotations

import math

from msgspec import Struct

LEAST = 1e-300  # a smaller chance is shown as this one, which still has a logarithm
RATIO = 8.0  # how many times more alarms than usual the test looks for


class Excess(Struct):
    """The evidence that alarms come more often than by chance, as time goes on.

    It is Page's (1954) cumulative sum of the logarithm of a likelihood ratio, that of RATIO times
    as many alarms against the highest usual rate. From each beginning the ratio is a
    supermartingale under the usual rate, so that by Ville's inequality it reaches exp(h) with a
    probability of at most exp(-h), and from one of k beginnings with at most k exp(-h). A sum
    that starts again keeps a long run of alarms by chance from hiding an attack within it.
    """

    records: int = 0
    buckets: int = 0
    sum: float = 0.0
    most: float = 0.0

    def add(self, records: int, alarms: int, rate: float, spacing: int) -> None:
        """Take a bucket in. `rate`: the highest usual share of alarms. `spacing`: so many records
        that follow each other are worth one, since their windows overlap.
        """
        self.records += records
        self.buckets += 1
        ratio = alarms * math.log(RATIO) - records * rate * (RATIO - 1)
        self.sum = max(0.0, self.sum + ratio / spacing)
        self.most = max(self.most, self.sum)

    def join(self, other: Excess) -> None:
        """Keep the stronger evidence of two incidents that are one: they saw the same records."""
        self.records = max(self.records, other.records)
        self.buckets = max(self.buckets, other.buckets)
        self.sum, self.most = max(self.sum, other.sum), max(self.most, other.most)

    def chance(self, least_p: float) -> float:
        """Return the chance of so many alarms, or of so small a p-value, among so many normal
        records: twice the smaller one, since either would do.
        """
        many = self.buckets * math.exp(-self.most)
        return max(LEAST, min(1.0, 2 * min(many, max(self.records, 1) * least_p)))
