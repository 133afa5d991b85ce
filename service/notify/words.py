"""Notification -> the words that people read."""

from __future__ import annotations

from vaewatch.scoring.incidents.described import ColumnShare, IncidentReport
from vaewatch.scoring.incidents.rule import Kind
from vaewatch.service.notify.notification import ENDED, OPENED, TEST, WORSENED, Notification

MOST_COLUMNS = 3
MOST_NAME = 60  # characters
LEAST_CHANCE = 1e-12  # rarer than this is all the same to people
LEAST_SHARE = 0.5  # of a column's alarms on one side of what was expected
VERBS = {OPENED: "opened", WORSENED: "got worse", ENDED: "ended", TEST: "is only a test"}


def title(notification: Notification) -> str:
    """Say what happened, and where."""
    data = notification.data
    found = f"Incident {VERBS[notification.type]}{where(data.incident)}"
    return found if data.merged_into is None else f"{found}: a part of {data.merged_into} now"


def where(report: IncidentReport) -> str:
    """Name the group, after a blank; empty where all records are one."""
    group = report.group
    if group.kind == Kind.ALL:
        return ""
    return f" in {group.kind} '{cut(group.name)}'" if group.name else f" outside each {group.kind}"


def alarms(report: IncidentReport) -> str:
    """Say how many alarms there are, beside those that are expected of normal records."""
    return (
        f"{report.alarms:,} {_s('alarm', report.alarms)} in {report.records:,} "
        f"{_s('record', report.records)}, {report.expected:.2g} expected"
    )


def chance(report: IncidentReport) -> str:
    """Say how many of the incidents that normal records bring are as strong."""
    if report.chance > 0.5:
        return "any number"
    one_in = 1 / max(report.chance, LEAST_CHANCE)
    return f"at most 1 in {float(f'{one_in:.2g}'):,.0f}"


def columns(report: IncidentReport) -> str:
    """Name the main columns, and on which side of what was expected their values are."""
    named = [f"{cut(each.name)}{_side(each)}" for each in report.columns[:MOST_COLUMNS]]
    more = len(report.columns) - MOST_COLUMNS
    return ", ".join(named) + (f" and {more} more" if more > 0 else "") or "none stands out"


def sentence(report: IncidentReport) -> str:
    """Put the numbers of an incident into a sentence."""
    return (
        f"{alarms(report)}, from {_moment(report.first)} to {_moment(report.last)}; main columns: "
        f"{columns(report)}; as strong among incidents by chance: {chance(report)}."
    )


def cut(name: str, most: int = MOST_NAME) -> str:
    """Shorten a name that would fill a message, and leave out what would break or turn it."""
    name = "".join(c if c.isprintable() else " " for c in name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _side(column: ColumnShare) -> str:
    least = LEAST_SHARE * column.share
    if column.above > least:
        return " (above)"
    return " (below)" if column.below > least else ""


def _moment(moment: str | int) -> str:
    return moment if isinstance(moment, str) else f"record {moment:,}"


def _s(word: str, n: int) -> str:
    return word if n == 1 else f"{word}s"
