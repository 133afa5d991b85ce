"""Incident -> IncidentReport: what people and programs read of it, in JSON, files and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from vaewatch.scoring.incidents.alarm import Alarm, Cause
from vaewatch.scoring.incidents.grouping import Group, Rule
from vaewatch.scoring.incidents.incident import Incident
from vaewatch.scoring.incidents.rule import Kind, Rules
from vaewatch.scoring.time.form import Form, spell

Moment = str | int  # RFC 3339 in UTC; the number of a record where there is no time
DIRECTIONS = {1: "above", -1: "below"}


class GroupName(Struct, frozen=True):
    """Whose records an incident is made of."""

    kind: Annotated[Kind, Meta(description="`entity`, `segment`, or `all`.")]
    name: Annotated[str, Meta(description="Of the entity or segment; else empty.")]


class ColumnShare(Struct, frozen=True):
    """How often a column is a main reason of an incident's alarms; shares of all of them."""

    name: Annotated[str, Meta(description="Of the column.")]
    share: Annotated[float, Meta(description="Alarms of which it is a main reason.")]
    above: Annotated[float, Meta(description="Those whose value was above what was expected.")]
    below: Annotated[float, Meta(description="Those whose value was below.")]


class MainReason(Struct, frozen=True):
    """A main reason of one alarm. Record values are no part of it."""

    column: Annotated[str, Meta(description="Its name.")]
    direction: Annotated[
        str | None,
        Meta(description="`above` or `below` what was expected; null where neither holds."),
    ]


class Example(Struct, frozen=True):
    """One of the most severe alarms of an incident."""

    at: Annotated[Moment, Meta(description="Its time, or the number of its record.")]
    record: Annotated[str | None, Meta(description="The id of the record, if it has one.")]
    severity: Annotated[float, Meta(description="-log10 of the p-value.")]
    p_value: Annotated[float, Meta(description="Of the record.")]
    reasons: Annotated[tuple[MainReason, ...], Meta(description="The first one first.")]


class IncidentReport(Struct, frozen=True):
    """Alarms that belong together: one thing to look at."""

    id: Annotated[str, Meta(description="Made of the content: the same stream gives it again.")]
    group: Annotated[GroupName, Meta(description="Whose records they are.")]
    first: Annotated[Moment, Meta(description="Time of the first alarm, or number of its record.")]
    last: Annotated[Moment, Meta(description="The same of the last one.")]
    ongoing: Annotated[bool, Meta(description="Whether an alarm now would be a part of it.")]
    records: Annotated[
        int, Meta(description="Records of the group from the first alarm to the last.")
    ]
    alarms: Annotated[int, Meta(description="Those of them that belong to this incident.")]
    expected: Annotated[float, Meta(description="False alarms among so many normal records.")]
    chance: Annotated[
        float,
        Meta(
            description="Of the incidents that normal records bring, the share that looks like "
            "this one or stronger; an upper bound."
        ),
    ]
    peak_severity: Annotated[float, Meta(description="Of the most severe alarm.")]
    columns: Annotated[
        tuple[ColumnShare, ...], Meta(description="The main reasons, the largest share first.")
    ]
    examples: Annotated[tuple[Example, ...], Meta(description="The most severe alarms, up to 5.")]
    merged: Annotated[
        tuple[str, ...], Meta(description="Ids under which it, or a part of it, was known before.")
    ] = ()


def report_of(
    rules: Rules, group: Group, incident: Incident, now: int | None = None
) -> IncidentReport:
    """Describe an incident of a group as it is at a moment; by default after all that came."""
    rule = rules.of_group(incident.group)
    evidence = group.evidence(rule, incident)
    records = max(evidence.records, incident.alarms)
    return IncidentReport(
        id=incident.id,
        group=GroupName(rules.kind, incident.group),
        first=moment_text(incident.first, timed=rules.timed),
        last=moment_text(incident.last, timed=rules.timed),
        ongoing=now is not None and is_ongoing(rule, incident, now),
        records=records,
        alarms=incident.alarms,
        expected=records * rule.expected_rate,
        chance=rule.chance(incident, evidence),
        peak_severity=incident.peak_severity,
        columns=_columns(incident),
        examples=tuple(_example(alarm, timed=rules.timed) for alarm in incident.examples),
        merged=tuple(incident.merged),
    )


def is_ongoing(rule: Rule, incident: Incident, now: int) -> bool:
    """Return whether an alarm at this moment would be a part of the incident."""
    return now - incident.last <= rule.gap


def moment_text(moment: int, *, timed: bool) -> Moment:
    """Return a moment as reports have it: RFC 3339 in UTC, or the number of a record."""
    return str(spell(moment, Form.OFFSET)) if timed else moment


def _columns(incident: Incident) -> tuple[ColumnShare, ...]:
    order = sorted(incident.columns.items(), key=lambda item: (-item[1].alarms, item[0]))
    n = incident.alarms
    return tuple(
        ColumnShare(name, each.alarms / n, each.above / n, each.below / n) for name, each in order
    )


def _example(alarm: Alarm, *, timed: bool) -> Example:
    at = moment_text(alarm.moment, timed=timed)
    return Example(at, alarm.record, alarm.severity, alarm.p_value, _reasons(alarm.causes))


def _reasons(causes: Sequence[Cause]) -> tuple[MainReason, ...]:
    return tuple(MainReason(cause.column, DIRECTIONS.get(cause.direction)) for cause in causes)
