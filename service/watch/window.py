"""batches -> a sliding window: how each column is distributed, and how many records alarmed.

With several workers each publishes its window as a file beside the metrics, and a scrape adds up
those of the live ones.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

BLOCK_RECORDS, LEAST_RECORDS = 1000, 9000
WINDOW, RECENT = SHARED = ("window", "recent")  # what workers publish for each other
SCORES = "scores"  # a folder, of what they publish by the hour

Counts = NDArray[np.int64]
NO_SEGMENTS: Counts = np.zeros((0, 2), np.int64)


class Totals(msgspec.Struct):
    """The sums of a window.

    counts: (columns, width) records in each bin of the drift reference.
    events: (EVENTS, columns) as `vaewatch.service.watch.monitor` counts them.
    alarms: at the artifact's alpha.
    segments: (codes, 2) records and alarms of each segment, by its code; empty without segments.
    """

    version: str
    counts: list[list[int]]
    events: list[list[int]]
    records: int
    alarms: int
    segments: list[list[int]] = []


class Block(NamedTuple):
    """The sums of some batches, as `Totals` has them; `segments` may have no rows."""

    counts: Counts
    events: Counts
    records: int
    alarms: int
    segments: Counts = NO_SEGMENTS

    def plus(self, other: Block) -> Block:
        """Add up two blocks."""
        return Block(
            self.counts + other.counts,
            self.events + other.events,
            self.records + other.records,
            self.alarms + other.alarms,
            self.segments + other.segments,
        )


@dataclass
class Window:
    """The last 9,000 to 10,000 records of one model: the oldest block goes once the others hold
    9,000. A large batch is one block, so the window may hold more by that much.
    """

    version: str
    _blocks: deque[Block] = field(default_factory=deque)
    _records: int = 0

    def add(self, block: Block) -> None:
        """Take the sums of a batch."""
        self._records += block.records
        if self._blocks and self._blocks[-1].records < BLOCK_RECORDS:
            block = self._blocks.pop().plus(block)
        self._blocks.append(block)
        while self._records - self._blocks[0].records >= LEAST_RECORDS:
            self._records -= self._blocks.popleft().records

    def totals(self) -> Totals:
        if not self._blocks:
            return Totals(self.version, [], [], 0, 0)
        counts, events, records, alarms, segments = reduce(Block.plus, self._blocks)
        lists = counts.tolist(), events.tolist()
        return Totals(self.version, *lists, records, alarms, segments.tolist())


T = TypeVar("T")


def publish(folder: Path, name: str, data: msgspec.Struct) -> None:
    """Write this worker's data where the others find it, whole or not at all."""
    draft = folder / f".{name}-{os.getpid()}"
    draft.write_bytes(msgspec.json.encode(data))
    draft.rename(folder / f"{name}-{os.getpid()}.json")


def forget(folder: Path, pid: int) -> None:
    """Remove what a dead worker published."""
    for name in SHARED:
        (folder / f"{name}-{pid}.json").unlink(missing_ok=True)
    for path in (folder / SCORES).glob(f"{pid}-*"):
        path.unlink(missing_ok=True)


def of_others(folder: Path, name: str, kind: type[T]) -> Iterable[T]:
    """Read what the other workers published under a name."""
    for path in folder.glob(f"{name}-*.json"):
        if path.name != f"{name}-{os.getpid()}.json":
            try:
                yield msgspec.json.decode(path.read_bytes(), type=kind)
            except FileNotFoundError:  # its worker has just died
                continue


def add_up(windows: Iterable[Totals], version: str) -> Totals:
    """Sum the windows of one version of the model; the others are left out."""
    same = [w for w in windows if w.version == version and w.records]
    counts = np.sum([np.array(w.counts) for w in same], axis=0).tolist() if same else []
    events = np.sum([np.array(w.events) for w in same], axis=0).tolist() if same else []
    records, alarms = sum(w.records for w in same), sum(w.alarms for w in same)
    by_segment = [np.array(w.segments) for w in same if w.segments]
    segments = np.sum(by_segment, axis=0).tolist() if by_segment else []
    return Totals(version, counts, events, records, alarms, segments)
