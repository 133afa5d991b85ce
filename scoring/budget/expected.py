"""records, the law of their false-alarm rate -> how many alarms chance explains, and in words.

Of N records at most N are normal, so that what N normal ones bring bounds the false alarms among
them. Expected / alarms is therefore an upper bound of the share of false ones on average, over
calibrations too. One calibration may be unlucky: the upper end of the range bounds the share for
all but 1 in 200. All of this is as true as that normal records still are like the calibration's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from vaewatch.scoring.budget.calibration import BlockLaw, Calibration, RateLaw
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.chances import Chances

CONFIDENCE = 0.99  # people look often: at 95%, one look in twenty would raise a false alarm
TAIL = (1 - CONFIDENCE) / 2
PROVIDED = "if normal traffic is as it was"  # where it has changed, more of them are false
EXACT = 10  # from so many expected alarms on, tenths say nothing
VAGUE = 4.0  # times the expected alarms: if chance explains more, little can be told
MANY = 2.0  # times the expected alarms: more are worth a word
UNTOLD = "but too few independent records to tell it from chance"


class State(StrEnum):
    """Where a number of alarms lies beside what chance brings."""

    EMPTY = "empty"  # no records
    BELOW = "below"
    WITHIN = "within"
    ABOVE = "above"


@dataclass(frozen=True)
class Expected:
    """The alarms that chance explains of `records`, if all of them are normal.

    mean: expected number. bound: whether it is an upper bound only, since scores tie at the
    threshold or the calibration is cross-fitted.
    low, high: the central range, with a probability of at least CONFIDENCE. The luck of the
    calibration records is in it.
    """

    records: int
    mean: float
    low: int
    high: int
    bound: bool = False

    @classmethod
    def of(cls, law: RateLaw, records: int, tail: float = TAIL) -> Expected:
        """Return what a law brings among so many records. tail: the chance beyond either end."""
        length = law.length if isinstance(law, BlockLaw) else 1.0
        trials = math.ceil(records / length)
        low = Chance(trials, law.low, law.n).quantile(tail)
        high = Chance(trials, law.high, law.n).quantile(1 - tail)
        return cls(
            records=records,
            mean=records * law.mean,
            low=math.floor(low * length),
            high=min(records, math.ceil(high * length)),
            bound=law.bounded,
        )

    @classmethod
    def together(cls, parts: Sequence[tuple[RateLaw, int]], tail: float = TAIL) -> Expected:
        """Return what several laws bring together, each among so many records of its own.

        Disjoint calibrations are independent, so that means add up, and the range is that of the
        sum.
        """
        if len(parts) == 1:
            return cls.of(*parts[0], tail)
        records = sum(n for _, n in parts)
        return cls(
            records=records,
            mean=sum(n * law.mean for law, n in parts),
            low=Chances(tuple(Chance(n, law.low, law.n) for law, n in parts)).quantile(tail),
            high=Chances(tuple(Chance(n, law.high, law.n) for law, n in parts)).quantile(1 - tail),
            bound=any(law.bounded for law, _ in parts),
        )

    @classmethod
    def at(cls, calibration: Calibration, records: int, alpha: float | None = None) -> Expected:
        """Return what a calibration brings at alpha, its own by default."""
        return cls.of(calibration.rate_law(alpha), records)

    def state(self, alarms: int) -> State:
        """Say whether chance explains so many alarms."""
        if not self.records:
            return State.EMPTY
        if alarms > self.high:
            return State.ABOVE
        return State.BELOW if alarms < self.low else State.WITHIN

    def most_false(self, alarms: int) -> float | None:
        """Return the largest share of so many alarms that is expected to be false; None of no
        alarms.
        """
        return min(1.0, self.mean / alarms) if alarms else None

    def worst_false(self, alarms: int) -> float | None:
        """Return the share of so many alarms that chance may make false; None of no alarms."""
        return min(1.0, self.high / alarms) if alarms else None

    def words(self, alarms: int) -> str:
        """Return the alarms, those that chance explains, and what follows, as one phrase."""
        counted = f"{alarms:,} alarm{'' if alarms == 1 else 's'}" if alarms else "no alarms"
        if not self.records:
            return f"{counted}: there were no records"
        expected = f"{self._about} expected of normal traffic ({self._chance})"
        return f"{counted}, {expected}: {self.verdict(alarms)}"

    @property
    def number(self) -> str:
        """The expected number, with its range: "about 10 (4 to 18 by chance)"."""
        return f"{self._about} ({self._chance})"

    @property
    def _about(self) -> str:
        return f"{'up to' if self.bound else 'about'} {shown(self.mean)}"

    @property
    def _chance(self) -> str:
        between = f"{self.low:,} to {self.high:,}" if self.low < self.high else f"{self.high:,}"
        return f"{between} by chance"

    def verdict(self, alarms: int) -> str:
        """Return what follows for so many alarms, as a phrase."""
        match self.state(alarms):
            case State.EMPTY:
                return "there were no records"
            case State.BELOW:
                return "fewer than normal traffic brings"
            case State.WITHIN if untold(alarms, self.mean, self.high):
                return f"more than expected, {UNTOLD}"
            case State.WITHIN:
                return "no more than chance explains"
        share, worst = self.most_false(alarms), self.worst_false(alarms)
        if alarms == 1 or share is None or worst is None:  # a share of one alarm is none
            return "more than chance explains"
        most, at_worst = percent(share), percent(worst)
        bad_luck = "" if at_worst == most else f" ({at_worst.removeprefix('about ')} at worst)"
        return f"at most {most} of them false{bad_luck}, {PROVIDED}"


def vague(mean: float, high: int) -> bool:
    """Whether the range of alarms by chance is so wide that one within it says little."""
    return high > VAGUE * max(mean, 1.0)


def untold(alarms: int, mean: float, high: int) -> bool:
    """Whether many more alarms came than expected, which only so wide a range explains."""
    return alarms > MANY * max(mean, 1.0) and vague(mean, high)


def shown(number: float) -> str:
    """Return an expected number with as many digits as say something."""
    if number >= EXACT:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 0.1 or number == 0 else f"{number:.1g}"


def tenths(number: float, *, bound: bool) -> str:
    """Return an expected number for a table: to a tenth, and whether it is an upper bound."""
    return f"{'up to ' if bound else ''}{number:,.1f}"


def percent(share: float) -> str:
    """Return a share as people say it: "about 27%"; less than 1% is 1%."""
    return f"about {share:.0%}" if share >= 0.01 else "1%"
