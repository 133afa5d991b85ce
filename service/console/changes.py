"""loads, proposals, patterns -> what people changed, to be seen on the time axis of the alarms."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from vaewatch.service.incidents.patterns import Pattern
from vaewatch.service.model.loads import Load
from vaewatch.service.recalibrate.proposal import Proposal

MOST = 50  # changes, and patterns


class Change(msgspec.Struct, frozen=True):
    """One moment. at: in Unix seconds. kind: 'model' or 'proposal'."""

    at: float
    kind: str
    text: str
    by: str | None = None


class ChangeList(msgspec.Struct):
    """Changes and patterns, newest first. away: the store does not answer, and patterns miss."""

    changes: list[Change]
    patterns: list[Pattern]
    away: bool


def changes_of(
    loads: Sequence[Load], proposals: Sequence[Proposal], patterns: Sequence[Pattern] | None
) -> ChangeList:
    """Merge what is known of changes. patterns: None where they are not known."""
    found = [_of_load(load, proposals) for load in loads]
    found += [_of_proposal(proposal) for proposal in proposals]
    found.sort(key=lambda change: -change.at)
    return ChangeList(found[:MOST], list(patterns or ())[:MOST], patterns is None)


def _of_load(load: Load, proposals: Sequence[Proposal]) -> Change:
    applied = next((p for p in proposals if p.version == load.version), None)
    reverted = next(
        (p for p in proposals if (p.version, p.parent) == (load.before, load.version)), None
    )
    if load.before is None:
        text = f"The service began, with version {load.version}"
    elif load.promoted:
        text = f"Promoted: version {load.version} answers"
    elif applied is not None:
        return Change(
            load.at, "model", f"Recalibrated: version {load.version} answers", applied.key
        )
    elif reverted is not None:
        text = f"Reverted: version {load.version} answers again"
    else:
        text = f"Reloaded: version {load.version} answers"
    return Change(load.at, "model", text)


def _of_proposal(proposal: Proposal) -> Change:
    text = f"A recalibration of version {proposal.parent} was proposed"
    if proposal.state == "refused":
        text += ", and refused"
    return Change(seconds_of(proposal.created_at), "proposal", text, proposal.key)


def seconds_of(text: str) -> float:
    """Read ISO 8601 as Unix seconds."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
