"""marks -> Precisions: how many of those that judge were confirmed, by column, group and week."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from vaewatch.scoring.incidents.feedback import Label, share_interval
from vaewatch.scoring.time.form import NO_TIME, SECOND
from vaewatch.training.feedback.marks import Mark


@dataclass(frozen=True)
class Precision:
    """Marks that judge. name: of a column or group, or Monday of a week.

    share: of those that are confirmed; interval: its own, at 95%.
    """

    name: str
    confirmed: int
    false_alarms: int
    share: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, name: str, marks: Sequence[Mark]) -> Precision:
        confirmed = sum(mark.label is Label.CONFIRMED for mark in marks)
        interval = share_interval(confirmed, len(marks))
        return cls(name, confirmed, len(marks) - confirmed, confirmed / len(marks), interval)


@dataclass(frozen=True)
class Precisions:
    """All of them together, None where no mark judges; and by main column, group and week, those
    with most marks first, the weeks in order. What a mark does not name is not among them.
    """

    all: Precision | None
    columns: tuple[Precision, ...]
    groups: tuple[Precision, ...]
    weeks: tuple[Precision, ...]

    @classmethod
    def of(cls, marks: Sequence[Mark]) -> Precisions:
        """Count the marks that say `confirmed` or `false_alarm`."""
        judging = [m for m in marks if m.label in (Label.CONFIRMED, Label.FALSE_ALARM)]
        weeks = _by(judging, _week_of)
        return cls(
            Precision.of("all", judging) if judging else None,
            _by(judging, lambda mark: mark.columns[0] if mark.columns else ""),
            _by(judging, lambda mark: mark.group),
            tuple(sorted(weeks, key=lambda each: each.name)),
        )


def _by(marks: Sequence[Mark], name_of: Callable[[Mark], str]) -> tuple[Precision, ...]:
    found: dict[str, list[Mark]] = {}
    for mark in marks:
        if name := name_of(mark):
            found.setdefault(name, []).append(mark)
    counted = [Precision.of(name, own) for name, own in found.items()]
    return tuple(sorted(counted, key=lambda each: -(each.confirmed + each.false_alarms)))


def _week_of(mark: Mark) -> str:
    """Return the Monday of what it is about; of a record, of when it was said."""
    moment = mark.at if mark.first is None else mark.first
    if moment == NO_TIME:
        return ""
    day = datetime.fromtimestamp(moment / SECOND, UTC).date()
    return (day - timedelta(days=day.weekday())).isoformat()
