"""alarms in order of time -> blocks, and whether chance explains the alarms of each.

A block is a span of time. Blocks hold about as many records each, so that what chance allows is
alike, and records of one instant are never divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.budget.expected import CONFIDENCE, Expected, State, shown
from vaewatch.scoring.time.form import DAY, SECOND, Form, spell

BLOCKS = 10  # the last ones, that are shown
LEAST = 10  # records of a block
LATELY = 3  # blocks at the end, which say what comes next
WEEK = 7.0  # days


class Block(Struct, frozen=True):
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


@dataclass(frozen=True)
class Counted:
    """Records and alarms by time.

    times: (T,) microseconds since 1970, ascending. records, alarms: (T,) at each of these.
    """

    times: NDArray[np.int64]
    records: NDArray[np.int64]
    alarms: NDArray[np.int64]

    @classmethod
    def of(cls, times: NDArray[np.int64], alarms: NDArray[np.bool_]) -> Counted:
        """Count N records with their times, which may come in any order."""
        moments, place = np.unique(times, return_inverse=True)
        records = np.bincount(place, minlength=len(moments))
        own = np.bincount(place, alarms.astype(np.float64), minlength=len(moments))
        return cls(moments, records.astype(np.int64), np.rint(own).astype(np.int64))

    def cuts(self, blocks: int = BLOCKS) -> NDArray[np.int64]:
        """Return where each block begins among the moments, and where the last one ends."""
        total = np.cumsum(self.records)
        n = int(total[-1]) if len(total) else 0
        wanted = max(1, min(blocks, n // LEAST))
        inner = np.searchsorted(total, n * np.arange(1, wanted) / wanted, side="left") + 1
        return np.unique(np.concatenate([[0], inner[inner < len(total)], [len(total)]]))


def outlook(counted: Counted, law: RateLaw) -> Outlook | None:
    """Return the blocks of records that one calibration judges; None without records."""
    return outlook_of(counted, counted.cuts(), [law] * (BLOCKS + 1))


def outlook_of(counted: Counted, cuts: NDArray[np.int64], laws: list[RateLaw]) -> Outlook | None:
    """Return the blocks between cuts, each with a law of its own."""
    if not len(counted.times):
        return None
    spans = list(zip(cuts.tolist(), cuts[1:].tolist(), strict=False))
    tail = (1 - CONFIDENCE) / 2 / len(spans)
    blocks = tuple(
        _block(counted, span, law, tail) for span, law in zip(spans, laws, strict=False)
    )
    late = spans[-LATELY:]
    span = int(counted.times[-1] - counted.times[0])
    return Outlook(
        blocks=blocks,
        together=_together(blocks, laws[: len(spans)]),
        lately=_together(blocks[-LATELY:], laws[len(spans) - len(late) : len(spans)]),
        days=span / DAY,
        held=_held(counted, blocks, spans, laws),
    )


def _block(counted: Counted, span: tuple[int, int], law: RateLaw, tail: float) -> Block:
    start, end = span
    records = int(counted.records[start:end].sum())
    return Block(
        start=_text(counted.times[start]),
        end=_text(counted.times[end - 1]),
        records=records,
        alarms=int(counted.alarms[start:end].sum()),
        expected=records * law.mean,
        low=Chance(records, law.low, law.n).quantile(tail),
        high=Chance(records, law.high, law.n).quantile(1 - tail),
    )


def _together(blocks: tuple[Block, ...], laws: list[RateLaw]) -> Block:
    """Join blocks; what chance allows of them together goes by the law with the fewest records,
    the widest.
    """
    law = min(laws, key=lambda law: law.n)
    records = sum(block.records for block in blocks)
    expected = Expected.of(law, records)
    return Block(
        start=blocks[0].start,
        end=blocks[-1].end,
        records=records,
        alarms=sum(block.alarms for block in blocks),
        expected=sum(block.expected for block in blocks),
        low=expected.low,
        high=expected.high,
    )


def _held(
    counted: Counted,
    blocks: tuple[Block, ...],
    spans: list[tuple[int, int]],
    laws: list[RateLaw],
) -> float | None:
    """Return after how many days the alarms since the start were more than chance explains."""
    tail = (1 - CONFIDENCE) / 2 / len(blocks)
    records = alarms = 0
    for block, (start, _), law in zip(blocks, spans, laws, strict=False):
        records, alarms = records + block.records, alarms + block.alarms
        if alarms > Chance(records, law.high, law.n).quantile(1 - tail):
            return int(counted.times[start] - counted.times[0]) / DAY
    return None


def _text(moment: np.int64) -> str:
    whole = int(moment) // SECOND * SECOND
    return str(spell(whole, Form.OFFSET))


def words(found: Outlook) -> list[str]:
    """Say whether the budget held, and what follows, in sentences."""
    lately, together = found.lately, found.together
    said = [f"{_counted(together)} in the last {len(found.blocks)} blocks, {days(found.days)}"]
    if found.state is State.ABOVE:
        rate = lately.alarms / max(lately.records, 1)
        said.append(
            f"the budget does not hold: {_counted(lately)} in the last {_blocks(found)}. Expect "
            f"up to as many next week, an alarm in {1 / rate:,.0f} normal records"
        )
    elif found.state is State.BELOW:
        said.append("lately fewer alarms came than normal traffic brings: anomalies may be missed")
    elif found.broken:
        said.append("the budget did not hold for some time, and does so again at the end")
    else:
        said.append(_holds(found))
    said.append(_how_often(found))
    return said


def rows_of(found: Outlook) -> list[tuple[str, ...]]:
    """Return a row for each block: from, to, records, alarms, expected, by chance, its state."""
    return [
        (
            _minute(block.start),
            _minute(block.end),
            f"{block.records:,}",
            f"{block.alarms:,}",
            shown(block.expected),
            f"{block.low:,} to {block.high:,}",
            STATES.get(block.state, ""),
        )
        for block in found.blocks
    ]


STATES = {State.ABOVE: "too many", State.BELOW: "too few"}


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _holds(found: Outlook) -> str:
    if len(found.blocks) == 1:
        return "the budget holds, but one block of time cannot show a change"
    if found.days < WEEK:
        return f"the budget holds over {days(found.days)}: too short a time to speak of next week"
    return "the budget holds in time: expect it to hold next week, if traffic stays like this"


def _how_often(found: Outlook) -> str:
    if found.held is None:
        return f"look again, or recalibrate, every {days(found.days)}: for so long it has held"
    if found.held == 0:
        block = found.days / len(found.blocks)
        return (
            f"a calibration of the time before broke within {days(block)}: recalibrate on the "
            "latest records (--calibrate recent)"
        )
    return (
        f"it held for {days(found.held)}: recalibrate at least that often, on the latest records "
        "(--calibrate recent)"
    )


def _counted(block: Block) -> str:
    between = f"{block.low:,} to {block.high:,} by chance"
    alarms = "alarm" if block.alarms == 1 else "alarms"
    return f"{block.alarms:,} {alarms}, about {shown(block.expected)} expected ({between})"


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
