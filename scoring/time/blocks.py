"""alarms in order of time -> blocks, and whether chance explains the alarms of each.

A block is a span of time. Blocks hold about as many records each, so that what chance allows is
alike, and records of one instant are never divided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated

import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import RateLaw
from vaewatch.scoring.budget.expected import TAIL, Expected, State
from vaewatch.scoring.drift import Changed
from vaewatch.scoring.time.counted import Counted
from vaewatch.scoring.time.form import DAY, SECOND, Form, spell

LATELY = 3  # blocks at the end, which say what comes next


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
            description="Where it does not hold, the columns that have changed much since the "
            "last three blocks began, or all of them if it is these that show it, most first; "
            "else absent."
        ),
    ] = UNSET

    @property
    def state(self) -> State:
        """Whether the budget holds now."""
        return self.evidence.state

    @property
    def evidence(self) -> Block:
        """The blocks that say whether the budget holds now: the last ones, or all of them together
        if these lie on the same side; the last ones, too, where nothing is to be said.
        """
        last, whole, ahead = self.blocks[-1], self.together, self.lately
        for state, same in (
            (State.ABOVE, ahead.alarms > ahead.expected),
            (State.BELOW, ahead.alarms < ahead.expected),
        ):
            for block in (ahead, last, *([whole] if same else [])):
                if block.state is state:
                    return block
        return ahead

    @property
    def broken(self) -> bool:
        """Whether any block, or all of them together, brought more than chance explains."""
        return any(b.state is State.ABOVE for b in (*self.blocks, self.together, self.lately))

    @property
    def lasted(self) -> float | None:
        """Days until the budget broke: `held`, or else those before the first block, or the last
        blocks, with too many alarms; None if it never broke.
        """
        if self.held is not None or not self.broken:
            return self.held
        many = [b.start for b in (*self.blocks, self.lately) if b.state is State.ABOVE]
        first = datetime.fromisoformat(self.blocks[0].start)
        begun = datetime.fromisoformat(min(many, default=self.blocks[0].start))
        return (begun - first).total_seconds() * SECOND / DAY


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
