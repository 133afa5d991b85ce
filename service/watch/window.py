"""batches -> a sliding window: how each column is distributed, and how many records alarmed.

With several workers each publishes its window as a file beside the metrics, and a scrape adds up
those of the live ones.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

BLOCKS, BLOCK_RECORDS = 10, 1000
WINDOW, RECENT = SHARED = ("window", "recent")  # what workers publish for each other
SCORES = "scores"  # a folder, of what they publish by the hour


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


@dataclass
class Window:
    """The last 9,000 to 10,000 records of one model."""

    version: str
    _counts: deque[NDArray[np.int64]] = field(default_factory=lambda: deque(maxlen=BLOCKS))
    _events: deque[NDArray[np.int64]] = field(default_factory=lambda: deque(maxlen=BLOCKS))
    _sizes: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=BLOCKS))
    _segments: deque[NDArray[np.int64]] = field(default_factory=lambda: deque(maxlen=BLOCKS))

    def add(
        self,
        counts: NDArray[np.int64],
        events: NDArray[np.int64],
        records: int,
        alarms: int,
        segments: NDArray[np.int64] | None = None,
    ) -> None:
        if segments is not None:
            if self._sizes and self._sizes[-1][0] < BLOCK_RECORDS:
                segments = segments + self._segments.pop()
            self._segments.append(segments)
        if self._sizes and self._sizes[-1][0] < BLOCK_RECORDS:
            counts, events = counts + self._counts.pop(), events + self._events.pop()
            before = self._sizes.pop()
            records, alarms = records + before[0], alarms + before[1]
        self._counts.append(counts)
        self._events.append(events)
        self._sizes.append((records, alarms))

    def totals(self) -> Totals:
        counts = np.sum(self._counts, axis=0).tolist() if self._counts else []
        events = np.sum(self._events, axis=0).tolist() if self._events else []
        records, alarms = (
            (sum(part) for part in zip(*self._sizes, strict=True)) if self._sizes else (0, 0)
        )
        segments = np.sum(self._segments, axis=0).tolist() if self._segments else []
        return Totals(self.version, counts, events, records, alarms, segments)


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
