"""Which earlier incidents are like one, and what has changed beside it."""

from __future__ import annotations

from typing import Literal

from vaewatch.scoring.incidents.described import ColumnShare, GroupName
from vaewatch.scoring.incidents.rule import Kind
from vaewatch.service.console.changes import changes_of
from vaewatch.service.console.similar import in_common, ranked
from vaewatch.service.incidents.listing import KeptIncident
from vaewatch.service.model.loads import MOST, Load, Loads


def one(
    id: str,
    group: str = "NL",
    label: Literal["confirmed", "false_alarm", "expected"] | None = None,
    **shares: float,
) -> KeptIncident:
    return KeptIncident(
        id=id,
        group=GroupName(Kind.SEGMENT, group),
        first="2026-01-01T00:00:00Z",
        last="2026-01-01T00:01:00Z",
        ongoing=False,
        records=10,
        alarms=3,
        expected=0.1,
        chance=0.01,
        peak_severity=3.0,
        columns=tuple(ColumnShare(name, x, x, 0.0) for name, x in shares.items()),
        examples=(),
        label=label,
    )


def test_the_same_group_comes_first_then_what_was_marked_then_what_is_most_alike():
    this = one("this", amount=1.0, items=0.5)
    others = [
        one("elsewhere", group="DE", label="confirmed", amount=1.0, items=0.5),
        one("loose", amount=0.2),
        one("alike", amount=1.0, items=0.5),
        one("said", label="false_alarm", amount=0.2),
        this,
    ]
    found = [each.id for each in ranked(this, [*others, *others])]
    assert found == ["said", "alike", "loose", "elsewhere"]


def test_at_most_five_are_named_the_newest_of_those_that_are_as_alike():
    others = [one(f"{k}", amount=1.0) for k in range(9)]
    assert [each.id for each in ranked(one("this", amount=1.0), others)] == list("01234")


def test_reasons_in_common_are_a_share():
    this = one("a", amount=1.0, items=0.5)
    assert in_common(this, this) == 1.0
    assert in_common(this, one("b", age=1.0)) == 0.0
    assert in_common(this, one("b", amount=0.75)) == 0.5
    assert in_common(one("a"), one("b")) == 0.0


def test_loads_are_bounded_and_say_what_began():
    loads = Loads()
    for k in range(MOST + 5):
        loads.note(Load(float(k), f"v{k}", f"v{k - 1}" if k else None, promoted=k % 2 == 1))
    listed = loads.listed()
    assert (len(listed), listed[0].version) == (MOST, f"v{MOST + 4}")
    texts = [change.text for change in changes_of(listed[:2], [], None).changes]
    assert texts == ["Reloaded: version v54 answers", "Promoted: version v53 answers"]
    began = changes_of([Load(0.0, "v1", None)], [], ())
    assert (began.changes[0].text, began.away) == ("The service began, with version v1", False)
    assert changes_of([], [], None).away
