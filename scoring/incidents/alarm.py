"""verdict -> Alarm: what grouping needs to know of a record that is an anomaly."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from vaewatch.scoring.reasons import Reason

MOST_COLUMNS = 3
_NUMBERS = {int, float}
LEAST_SHARE = 0.25  # of the largest contribution: a smaller one is no main reason


class Cause(Struct, frozen=True, gc=False):
    """A main reason of an alarm. direction: 1 where the value is above what was expected, -1
    below, 0 where neither can be said.
    """

    column: str
    direction: int = 0


class Alarm(Struct, frozen=True, gc=False):
    """A record that is an anomaly.

    moment: microseconds since 1970, or the number of the record where there is no time.
    group: its entity or segment; empty where there is neither.
    causes: the main reasons, the first one first.
    record: the id of the record, if it has one.
    score: in nats; None where a release of before kept the alarm.
    """

    moment: int
    group: str
    severity: float
    p_value: float
    causes: tuple[Cause, ...] = ()
    record: str | None = None
    score: float | None = None

    @property
    def main(self) -> str:
        """The main column; empty if nothing is known of the reasons."""
        return self.causes[0].column if self.causes else ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(cause.column for cause in self.causes)


def causes_of(reasons: Sequence[Reason]) -> tuple[Cause, ...]:
    """Return the main reasons, each column once, the first one first."""
    if not reasons:
        return ()
    least = LEAST_SHARE * reasons[0].contribution
    main = [(each.column, direction_of(each)) for each in reasons if each.contribution >= least]
    return _causes(tuple(main[:MOST_COLUMNS]))


@lru_cache(maxsize=4096)
def _causes(main: tuple[tuple[str, int], ...]) -> tuple[Cause, ...]:
    """Of many alarms, few differ in their causes: these are made once."""
    once: dict[str, Cause] = {}
    for column, direction in main:
        once.setdefault(column, Cause(column, direction))
    return tuple(once.values())


def direction_of(reason: Reason) -> int:
    """Return 1 where a number is above what was expected, -1 below, 0 where neither holds."""
    observed, expected = reason.observed, reason.expected
    if type(observed) not in _NUMBERS or type(expected) not in _NUMBERS:
        return 0
    return (observed > expected) - (observed < expected)  # type: ignore[operator]
