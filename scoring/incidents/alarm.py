"""verdict -> Alarm: what grouping needs to know of a record that is an anomaly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from msgspec import Struct

from vaewatch.scoring.features.vectorizer import Value
from vaewatch.scoring.reasons import Reason

MOST_COLUMNS = 3
LEAST_SHARE = 0.5  # of the largest contribution: a smaller one is no main reason


class Cause(Struct, frozen=True):
    """A main reason of an alarm. direction: 1 where the value is above what was expected, -1
    below, 0 where neither can be said.
    """

    column: str
    direction: int = 0


class Alarm(Struct, frozen=True):
    """A record that is an anomaly.

    moment: microseconds since 1970, or the number of the record where there is no time.
    group: its entity or segment; empty where there is neither.
    causes: the main reasons, the first one first.
    record: the id of the record, if it has one.
    """

    moment: int
    group: str
    severity: float
    p_value: float
    causes: tuple[Cause, ...] = ()
    record: str | None = None

    @property
    def main(self) -> str:
        """The main column; empty if nothing is known of the reasons."""
        return self.causes[0].column if self.causes else ""

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(cause.column for cause in self.causes)


def causes_of(reasons: Sequence[Reason]) -> tuple[Cause, ...]:
    """Return the main reasons, each column once, the first one first."""
    causes: dict[str, Cause] = {}
    for reason in reasons:
        if reason.contribution < LEAST_SHARE * reasons[0].contribution:
            break
        causes.setdefault(reason.column, Cause(reason.column, direction_of(reason)))
        if len(causes) == MOST_COLUMNS:
            break
    return tuple(causes.values())


def direction_of(reason: Reason) -> int:
    """Return 1 where a number is above what was expected, -1 below, 0 where neither holds."""
    observed, expected = reason.observed, reason.expected
    if not (_is_number(observed) and _is_number(expected)):
        return 0
    return int(observed > expected) - int(observed < expected)


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
