"""Marks -> how many were confirmed, by column, group and week."""

from __future__ import annotations

import pytest

from vaewatch.scoring.incidents.feedback import Label
from vaewatch.training.feedback.marks import Mark
from vaewatch.training.feedback.precision import Precisions

SUNDAY = 1_774_785_600_000_000  # 2026-03-29T12:00:00Z
DAY = 86_400_000_000


def mark(label: Label, column: str, group: str, days: int) -> Mark:
    first = SUNDAY + days * DAY
    return Mark(label, f"i{days}", group=group, first=first, last=first, columns=(column, "b"))


def test_marks_that_judge_are_counted_by_column_group_and_week():
    marks = [
        mark(Label.CONFIRMED, "amount", "NL", 0),
        mark(Label.FALSE_ALARM, "amount", "NL", 1),
        mark(Label.CONFIRMED, "items", "", 2),
        mark(Label.EXPECTED, "items", "NL", 3),
        Mark(Label.CONFIRMED, record="o1", at=SUNDAY - 8 * DAY),
        Mark(Label.FALSE_ALARM, record="o2"),
    ]
    found = Precisions.of(marks)
    assert found.all is not None
    assert (found.all.confirmed, found.all.false_alarms, found.all.share) == (3, 2, 0.6)
    assert found.all.interval == pytest.approx((0.2307, 0.8824), abs=1e-4)
    names = {each.name: (each.confirmed, each.false_alarms) for each in found.columns}
    assert names == {"amount": (1, 1), "items": (1, 0)} and found.columns[0].name == "amount"
    assert [each.name for each in found.groups] == ["NL"]
    weeks = [(each.name, each.confirmed, each.false_alarms) for each in found.weeks]
    assert weeks == [("2026-03-16", 1, 0), ("2026-03-23", 1, 0), ("2026-03-30", 1, 1)]


def test_without_marks_that_judge_there_is_none():
    found = Precisions.of([mark(Label.EXPECTED, "amount", "NL", 0)])
    assert (found.all, found.columns, found.weeks) == (None, (), ())
