"""alarms among records, bucket by bucket -> how often chance makes an incident look like that.

Each incident begins with an alarm, and normal records bring alarms. The question is therefore how
many of the incidents that normal records bring are as strong as this one.
"""

from __future__ import annotations

import math

from msgspec import Struct

LEAST = 1e-300  # a smaller chance is shown as this one, which still has a logarithm
RARE = 0.01  # chance of an incident that deserves a look at night
RATIO = 8.0  # how many times more alarms than usual the test looks for


class Excess(Struct):
    """The evidence that alarms come more often than by chance, as time goes on.

    It is Page's (1954) cumulative sum of the logarithm of a likelihood ratio, that of RATIO times
    as many alarms against the highest usual rate. From each beginning the ratio is a
    supermartingale under the usual rate, so that by Ville's inequality it reaches exp(h) with a
    probability of at most exp(-h), or RATIO exp(-h) from an alarm on. A sum that starts again
    keeps a long run of alarms by chance from hiding an attack within it.
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

    def many(self) -> float:
        """Return a bound of the share of the incidents by chance that have so many alarms."""
        return (RATIO - 1 + self.buckets) * math.exp(-self.most)

    def chance(self, least_p: float, alarms: int, rate: float) -> float:
        """Return the share of the incidents by chance that have so much evidence, or so small a
        p-value among so many alarms: twice the smaller share, since either would do.

        rate: the share of normal records that alarm, so that alarms have p-values up to it.
        """
        rare = alarms * least_p / rate
        return max(LEAST, min(1.0, 2 * min(self.many(), rare)))
