"""alarms in order of time -> blocks, and whether chance explains the alarms of each.

A block is a span of time. Blocks hold about as many records each, so that what chance allows is
alike, and records of one instant are never divided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.expected import TAIL, Expected, State, shown
from vaewatch.scoring.drift import Changed
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.time.counted import Counted
from vaewatch.scoring.time.form import DAY, SECOND, Form, spell

LATELY = 3  # blocks at the end, which say what comes next
NAMED = 3  # columns that have changed
WEEK = 7.0  # days
VAGUE = 4.0  # times the expected alarms: if chance explains more, little can be told
DIGITS = (16, 19, 23, 26)  # of a time, to the minute or finer
RECENT, WINDOWS_RECENT = "--calibrate recent", "vaewatch recalibrate"  # what does so


class Block(Struct, frozen=True, omit_defaults=True):
    """The alarms of one span of time."""

    start: Annotated[str, Meta(description="Time of its first record, ISO 8601 in UTC.")]
    end: Annotated[str, Meta(description="Time of its last record.")]
    records: Annotated[int, Meta(description="Records.")]
    alarms: Annotated[int, Meta(description="Alarms among them.")]
    expected: Annotated[float, Meta(description="Alarms of as many normal records, on average.")]
    low: Annotated[int, Meta(description="The fewest alarms that chance explains.")]
    high: Annotated[
        int,
        Meta(
            description="The most alarms that chance explains. If nothing changes, some block "
            "lies outside one time in a hundred."
        ),
    ]
    bound: Annotated[bool, Meta(description="Whether `expected` is an upper bound only.")] = False

    @property
    def state(self) -> State:
        """Where its alarms lie beside what chance brings."""
        if self.alarms > self.high:
            return State.ABOVE
        return State.BELOW if self.alarms < self.low else State.WITHIN


class Outlook(Struct, frozen=True):
    """Whether an alarm budget holds over time."""

    blocks: Annotated[tuple[Block, ...], Meta(description="In order of time.")]
    together: Annotated[Block, Meta(description="All blocks together.")]
    lately: Annotated[Block, Meta(description="The last three together.")]
    days: Annotated[float, Meta(description="Days that the blocks cover.")]
    held: Annotated[
        float | None,
        Meta(
            description="Days until the alarms since the first block were more than chance "
            "explains; null if they never were."
        ),
    ] = None
    changed: Annotated[
        tuple[Changed, ...] | UnsetType,
        Meta(
            description="Where it does not hold lately, the columns that have changed much since "
            "the last three blocks began, most first; else absent."
        ),
    ] = UNSET

    @property
    def state(self) -> State:
        """Whether the budget holds now: of the last blocks, and of all of them."""
        now = [self.lately, self.blocks[-1]]
        for state in (State.ABOVE, State.BELOW):
            if any(block.state is state for block in now):
                return state
        return State.WITHIN

    @property
    def broken(self) -> bool:
        """Whether any block, or all of them together, brought more than chance explains."""
        return any(b.state is State.ABOVE for b in (*self.blocks, self.together, self.lately))


# the laws by which calibrations judge some records, by any key, and how many records each judges
Laws = Mapping[int, tuple[RateLaw, int]]


def outlook(counted: Counted, laws: Sequence[RateLaw]) -> Outlook | None:
    """Return the blocks of records that calibrations judge by these laws, those of the slots of
    `counted`; None without records.
    """
    cuts = counted.cuts()
    each = []
    for start, end in pairwise(cuts.tolist()):
        records = counted.by_slot(start, end, len(laws))
        judged = enumerate(zip(laws, records, strict=True))
        each.append({slot: (law, n) for slot, (law, n) in judged if n})
    return outlook_of(counted, cuts, each)


def outlook_of(counted: Counted, cuts: NDArray[np.int64], laws: Sequence[Laws]) -> Outlook | None:
    """Return the blocks between cuts, each judged by laws of its own."""
    if not len(counted.times):
        return None
    spans = list(pairwise(cuts.tolist()))
    tail = TAIL / len(spans)
    each = zip(spans, laws, strict=True)
    blocks = tuple(_block(counted, span, _expected(own, tail)) for span, own in each)
    span = int(counted.times[-1] - counted.times[0])
    return Outlook(
        blocks=blocks,
        together=_together(blocks, laws),
        lately=_together(blocks[-LATELY:], laws[-LATELY:]),
        days=span / DAY,
        held=_held(counted, blocks, spans, laws),
    )


def _expected(laws: Laws, tail: float) -> Expected:
    return Expected.together(list(laws.values()), tail)


def _block(counted: Counted, span: tuple[int, int], expected: Expected) -> Block:
    start, end = span
    return Block(
        start=_text(counted.times[start]),
        end=_text(counted.times[end - 1]),
        records=int(counted.records[start:end].sum()),
        alarms=int(counted.alarms[start:end].sum()),
        expected=expected.mean,
        low=expected.low,
        high=expected.high,
        bound=expected.bound,
    )


def _together(blocks: tuple[Block, ...], laws: Sequence[Laws]) -> Block:
    """Join blocks; what chance allows of them together goes for each calibration by its law with
    the fewest records, the widest.
    """
    expected = _expected(_joined(laws, lambda law, other: min(law, other, key=_size)), TAIL)
    return Block(
        start=blocks[0].start,
        end=blocks[-1].end,
        records=sum(block.records for block in blocks),
        alarms=sum(block.alarms for block in blocks),
        expected=sum(block.expected for block in blocks),
        low=expected.low,
        high=expected.high,
        bound=expected.bound,
    )


def _size(law: RateLaw) -> int:
    return law.n


def _joined(laws: Sequence[Laws], law_of: Callable[[RateLaw, RateLaw], RateLaw]) -> Laws:
    """Add up the records of each key; `law_of` chooses between an earlier and a later law."""
    found: dict[int, tuple[RateLaw, int]] = {}
    for part in laws:
        for key, (law, records) in part.items():
            before, so_far = found.get(key, (law, 0))
            found[key] = law_of(before, law), so_far + records
    return found


def _held(
    counted: Counted,
    blocks: tuple[Block, ...],
    spans: list[tuple[int, int]],
    laws: Sequence[Laws],
) -> float | None:
    """Return after how many days the alarms since the start were more than chance explains."""
    tail, alarms, so_far = TAIL / len(blocks), 0, dict[int, tuple[RateLaw, int]]()
    for block, (start, _), part in zip(blocks, spans, laws, strict=True):
        alarms += block.alarms
        so_far = dict(_joined([so_far, part], lambda earlier, later: later))
        if alarms > _expected(so_far, tail).high:
            return int(counted.times[start] - counted.times[0]) / DAY
    return None


def _text(moment: np.int64) -> str:
    whole = int(moment) // SECOND * SECOND
    return str(spell(whole, Form.OFFSET))


def words(found: Outlook, *, windows: bool = False) -> list[str]:
    """Say whether the budget held, and what follows, in sentences.

    windows: whether the artifact judges records with those before them.
    """
    lately, together = found.lately, found.together
    n = len(found.blocks)
    last = f"the last {n} blocks" if n > 1 else "the last block"
    said = [f"{_counted(together)} in {last}, {days(found.days)}"]
    if found.state is State.ABOVE:
        each = round(lately.records / max(lately.alarms, 1))
        often = f"an alarm in {each:,} normal records" if each > 1 else "nearly all normal records"
        said.append(
            f"the budget does not hold: {_counted(lately)} in the last {_blocks(found)}. Expect "
            f"up to as many {'next week' if found.days >= WEEK else 'soon'}, {often}"
        )
        if found.changed:
            said.append(_what_changed(found.changed))
    elif found.state is State.BELOW:
        said.append("lately fewer alarms came than normal traffic brings: anomalies may be missed")
    elif found.broken:
        said.append("the budget was broken for a while, and holds again at the end")
    else:
        said.append(_holds(found))
    said.append(_how_often(found, WINDOWS_RECENT if windows else RECENT))
    return said


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
    if found.days < WEEK:
        return f"the budget holds over {days(found.days)}: too short a time to speak of next week"
    together = found.together
    if together.high > VAGUE * max(together.expected, 1.0):
        return (
            "the budget holds as far as can be told: so few or so like one another are these "
            f"records that up to {together.high:,} alarms would be chance"
        )
    return "the budget holds in time: expect it to hold next week, if traffic stays like this"


def _how_often(found: Outlook, latest: str) -> str:
    if found.held is None:
        return f"look again, or recalibrate, every {days(found.days)}: it has held for that long"
    if found.held == 0:
        block = found.days / len(found.blocks)
        return (
            f"a calibration of the time before broke within {days(block)}: train again, or at "
            f"least recalibrate, on the latest records ({latest})"
        )
    return (
        f"it held for {days(found.held)}: train again, or at least recalibrate, that often, on "
        f"the latest records ({latest})"
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


def _blocks(found: Outlook) -> str:
    late = min(LATELY, len(found.blocks))
    return "block" if late == 1 else f"{late} blocks"


def days(number: float) -> str:
    """Return a number of days as people say it."""
    if number >= 10:
        return f"{number:,.0f} days"
    if number >= 1:
        return f"{number:.2g} day{'' if f'{number:.2g}' == '1' else 's'}"
    hours = number * 24
    return f"{hours:.2g} hours" if hours >= 1 else f"{hours * 60:.2g} minutes"
