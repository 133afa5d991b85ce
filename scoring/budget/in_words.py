"""Outlook -> sentences and rows: whether a budget held over time, and what follows."""

from __future__ import annotations

from collections.abc import Sequence

from vaewatch.scoring.budget.expected import State, shown, untold, vague
from vaewatch.scoring.drift import Changed
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.time.blocks import LATELY, Block, Outlook

NAMED = 3  # columns that have changed
WEEK, HOUR = 7.0, 1 / 24  # days
DIGITS = (16, 19, 23, 26)  # of a time, to the minute or finer
RECENT, WINDOWS_RECENT = "--calibrate recent", "vaewatch recalibrate"  # what does so


def words(found: Outlook, *, windows: bool = False) -> list[str]:
    """Say whether the budget held, and what follows, in sentences.

    windows: whether the artifact judges records with those before them.
    """
    latest = WINDOWS_RECENT if windows else RECENT
    said = [f"{_counted(found.together)} in {_where(found, found.together)}, {days(found.days)}"]
    if found.state is State.ABOVE:
        said += _breaks(found)
    elif found.state is State.BELOW:
        late = "" if found.evidence == found.together else "lately "
        said.append(f"{late}fewer alarms came than normal traffic brings: anomalies may be missed")
    elif found.broken:
        said.append("the budget was broken for a while, and holds again at the end")
    else:
        said.append(_holds(found))
    return [*said, _how_often(found, latest)]


def _breaks(found: Outlook) -> list[str]:
    at = found.evidence
    each = round(at.records / max(at.alarms, 1))
    often = f"an alarm in {each:,} normal records" if each > 1 else "nearly all normal records"
    ahead = "next week" if found.days >= WEEK else "soon"
    said = [
        f"the budget does not hold: {_counted(at)} in {_where(found, at)}. Expect about as many "
        f"{ahead}, {often}"
    ]
    return [*said, _what_changed(found.changed)] if found.changed else said


def rows_of(found: Outlook) -> list[tuple[str, ...]]:
    """Return a row for each block: from, to, records, alarms, expected, by chance, its state."""
    fine = next((n for n in DIGITS if all(b.start[:n] < b.end[:n] for b in found.blocks)), None)
    return [
        (
            block.start[:fine].replace("T", " "),
            block.end[:fine].replace("T", " "),
            f"{block.records:,}",
            f"{block.alarms:,}",
            f"up to {shown(block.expected)}" if block.bound else shown(block.expected),
            f"{block.low:,} to {block.high:,}",
            STATES.get(block.state, ""),
        )
        for block in found.blocks
    ]


STATES = {State.ABOVE: "too many", State.BELOW: "too few"}


def _holds(found: Outlook) -> str:
    if len(found.blocks) == 1:
        return "the budget holds, but one block of time cannot show a change"
    together = found.together
    if together.state is State.BELOW:
        return (
            "fewer alarms came than normal traffic brings, but lately as many as expected: the "
            "budget holds"
        )
    if found.days < WEEK:
        return f"the budget holds over {days(found.days)}: too short a time to speak of next week"
    if _vague(together):
        said = "the budget holds as far as can be told"
        if untold(together.alarms, together.expected, together.high):
            said = "whether the budget holds cannot be told"
        return (
            f"{said}: so few or so like one another are these records that up to "
            f"{together.high:,} alarms would be chance"
        )
    return (
        f"the budget holds in time: expect {together.low:,} to {together.high:,} alarms in as "
        "many records, if traffic stays like this"
    )


def _vague(block: Block) -> bool:
    return vague(block.expected, block.high)


def _how_often(found: Outlook, latest: str) -> str:
    lasted = found.lasted
    if found.days < HOUR:
        return f"these records cover {days(found.days)} only: look again when there are more"
    if lasted is not None:
        ended = f"it held for {days(lasted)}: train again, or at least recalibrate, that often"
        if not lasted:
            block = found.days / len(found.blocks)
            ended = (
                f"a calibration of the time before broke within {days(block)}: train again, or at "
                "least recalibrate"
            )
        return f"{ended}, on the latest records ({latest})"
    if found.state is State.BELOW:
        return f"a calibration of the latest records ({latest}) brings as many as asked for"
    if _vague(found.together):
        return "look again when there are more records"
    return (
        f"look again, or recalibrate, within {days(found.days)}, and sooner if traffic changes: "
        "what is later than that was not seen"
    )


def _what_changed(columns: Sequence[Changed]) -> str:
    most = ", ".join(f"'{one_line(c.column)}' (PSI {c.psi:.2g})" for c in columns[:NAMED])
    more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    return (
        f"the columns that changed most since then: {most}{more}; leave out what never comes back "
        "(--ignore), or give its change from one record to the next"
    )


def _counted(block: Block) -> str:
    between = f"{block.low:,} to {block.high:,} by chance"
    alarms = "alarm" if block.alarms == 1 else "alarms"
    about = "up to" if block.bound else "about"
    return f"{block.alarms:,} {alarms}, {about} {shown(block.expected)} expected ({between})"


def _where(found: Outlook, block: Block) -> str:
    n = len(found.blocks)
    if block == found.blocks[-1]:
        n = 1
    elif block == found.lately:
        n = min(LATELY, n)
    return f"the last {n} blocks" if n > 1 else "the last block"


def days(number: float) -> str:
    """Return a number of days as people say it."""
    if number >= 10:
        return f"{number:,.0f} days"
    if number >= 1:
        return f"{number:.2g} day{'' if f'{number:.2g}' == '1' else 's'}"
    hours = number * 24
    if hours >= 1:
        return f"{hours:.2g} hours"
    return f"{hours * 60:.2g} minutes" if hours * 60 >= 1 else f"{hours * 3600:.2g} seconds"
