"""budget, columns -> "is anything wrong, and where do I look?", answered in plain words."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vaewatch.scoring.budget.expected import shown
from vaewatch.scoring.stream.martingale import EVIDENCE
from vaewatch.service.console.budget import Budget
from vaewatch.service.console.columns import ColumnState

MOST_OF_EACH = 2
MOST_SEGMENTS = 3  # that are named
MANY, FEW = 0.02, 20  # a share of records, and a number: as VaewatchAlarmsLast has them


class Look(msgspec.Struct):
    """A column to look at, and why."""

    column: str
    why: str


class Health(msgspec.Struct):
    """What a person reads first. `level`: 'ok', 'idle', 'warn' or 'alarm'."""

    level: str
    headline: str
    text: str
    look_at: list[Look]


def health_of(
    budget: Budget,
    columns: Sequence[ColumnState],
    evidence: float,
    *,
    draining: bool,
    loud: Sequence[str] = (),
    lasting: str = "",
    new: str = "",
) -> Health:
    """Judge the service. `evidence`: log10 of the test martingale. `loud`: the segments that have
    more alarms than chance allows. `lasting`, `new`: what `lasting_of` and `new_of` say.
    """
    if draining:
        text = "It answers the requests in flight and takes no new ones."
        return Health("warn", "The service is stopping", text, [])
    if budget.state == "empty":
        text = "Nothing is wrong. POST some to /v1/score, or try one below."
        return Health("idle", "No records yet", text, [])
    numbers, causes = numbers_of(budget), blamed(columns)
    changed = looks_of_changed(columns)
    if budget.state == "above":
        text = f"{numbers}{_explained(budget)} "
        text += "Either something is happening, or normal records have changed."
        text = " ".join(filter(None, [text, lasting, new]))
        return Health("alarm", "More alarms than promised", text, _first(causes, changed))
    if loud:
        more = f" and {len(loud) - MOST_SEGMENTS} more" if len(loud) > MOST_SEGMENTS else ""
        names = ", ".join(f"'{name}'" for name in loud[:MOST_SEGMENTS]) + more
        text = f"{numbers} But segment {names} has more than its own calibration allows."
        headline = "More alarms than promised in a segment"
        return Health("alarm", headline, text, _first(causes, changed))
    if lasting:
        text = f"{numbers} But {lasting[0].lower()}{lasting[1:]}"
        return Health("warn", "Alarms last", text, _first(causes, changed))
    if evidence >= EVIDENCE or changed:
        text = f"{numbers} But recent records no longer look like the calibration's."
        return Health("warn", "The records have changed", text, _first(changed, causes))
    if budget.state == "below":
        text = f"{numbers} Records may be repeating, or normal ones have changed."
        return Health("warn", "Fewer alarms than promised", text, [])
    return Health("ok", "All is as promised", numbers, [])


def lasting_of(lasting: int, records: int) -> str:
    """Say that records came while the alarm of their entity lasted, where these are many."""
    whose = "whose alarm lasts: they are no longer as in the fit data, and alarm only if they go"
    return _where_many(lasting, records, f"{whose} beyond that.")


def new_of(new: int, records: int) -> str:
    """Say that records are of entities that the model does not know, where these are many."""
    whose = "that the model does not know: the budget does not cover them, and they may alarm"
    return _where_many(new, records, f"{whose} far more often.")


def _where_many(some: int, records: int, whose: str) -> str:
    """Say of whose entities some records are; nothing of few."""
    if some <= MANY * records + FEW:
        return ""
    return f"Of the {records:,} records of the last hour {some:,} are of entities {whose}"


def numbers_of(budget: Budget) -> str:
    """Put the observed and the expected number of alarms into a sentence."""
    chance = (
        f"{budget.low:,} to {budget.high:,}" if budget.low < budget.high else f"{budget.high:,}"
    )
    about = "up to" if budget.bound else "about"
    return (
        f"{_counted(budget.alarms, 'alarm')} in the last {_counted(budget.records, 'record')}; "
        f"{about} {shown(budget.expected)} expected, and chance alone gives {chance}."
    )


def _explained(budget: Budget) -> str:
    """Put into a sentence how many of the alarms chance explains."""
    return f" {budget.verdict.capitalize()}." if budget.verdict else ""


def _counted(n: int, word: str) -> str:
    return f"{n:,} {word}" if n == 1 else f"{n:,} {word}s"


def blamed(columns: Sequence[ColumnState]) -> list[Look]:
    """The columns that are the first reason of recent alarms, most often first."""
    total = sum(column.first_reason for column in columns)
    ranked = sorted(columns, key=lambda column: -column.first_reason)
    return [
        Look(column.name, f"first reason of {column.first_reason:,} of {total:,} alarms")
        for column in ranked
        if column.first_reason
    ]


def looks_of_changed(columns: Sequence[ColumnState]) -> list[Look]:
    """The columns that have changed, most drift first."""
    ranked = sorted(columns, key=lambda column: -(column.psi or 0.0))
    return [Look(column.name, column.changed) for column in ranked if column.changed]


def _first(one: list[Look], other: list[Look]) -> list[Look]:
    """The first few of both lists, each column once."""
    chosen = one[:MOST_OF_EACH]
    named = {look.column for look in chosen}
    rest = [look for look in other if look.column not in named]
    return chosen + rest[:MOST_OF_EACH]
