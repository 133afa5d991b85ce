"""what an incident is, what was said of it -> what there is to say now."""

from __future__ import annotations

from dataclasses import dataclass

from vaewatch.scoring.incidents.feedback import Label
from vaewatch.service.notify.notification import ENDED, OPENED, WORSENED

TIMES = 10  # as many alarms as when it was last told of
STEP = 1.0  # of severity: a record ten times as rare
REST = 600 * 10**6  # microseconds after its end in which an incident does not open again
NO_ALARM = frozenset(  # labels with which getting worse is no news
    {Label.FALSE_ALARM, Label.EXPECTED}
)


@dataclass(frozen=True)
class Standing:
    """What an incident is at a look. chance: of normal records alone looking like it."""

    alarms: int
    severity: float
    chance: float
    closed: bool
    label: str | None = None


@dataclass(frozen=True)
class Told:
    """What was last said of an incident. ended: when it was said to have ended."""

    alarms: int
    severity: float
    ended: int | None = None


def news_of(standing: Standing, told: Told | None, most_chance: float, now: int) -> str | None:
    """Return the type of the notification that is due, or None. now: in microseconds.

    An incident opens as soon as chance does not explain it, and ends. In between there is news
    each time that it has become ten times as large, or has a record ten times as rare. One that
    has ended opens again if more of its alarms come, as those of records that arrive late do.
    """
    if told is None:
        return OPENED if standing.chance <= most_chance else None
    worse = standing.alarms >= TIMES * told.alarms or standing.severity >= told.severity + STEP
    if told.ended is None:
        if standing.closed:
            return ENDED
        return WORSENED if worse and standing.label not in NO_ALARM else None
    more = standing.alarms > told.alarms and (worse or now - told.ended >= REST)
    return OPENED if more and standing.chance <= most_chance else None
