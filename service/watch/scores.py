"""verdicts -> a uniform sample of the scores of the last seven days, by minute and segment.

Only scores are kept, never values. Each record draws a ticket, a number of 32 bits, and is kept if
the ticket lies below a limit. When MOST_SCORES are kept the limit is halved and those above it go,
so that memory stays bounded and what is left is a uniform sample of all records, in every minute
and every worker alike. Counts of records and alarms are exact.

A score is held as a float32: its rounding, 6e-8 of the score, is far below the 1e-5 at which the
calibration calls two scores equal.

With several workers each publishes its pages, one an hour, in a folder beside the metrics, at most
every ten seconds. What a dead worker had is lost, and all of it when the service stops.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.service.watch.window import SCORES

MINUTE, HOUR = 60, 3600  # seconds
KEPT_SECONDS = 7 * 24 * HOUR
MOST_SCORES = 1 << 18  # in a process: two MiB
PUBLISH_SECONDS = 10.0
MOST_PARTS = 256  # arrays of an hour that are not joined yet: each takes room of its own
EVERY = 1 << 32  # the limit below which every ticket lies

_LARGEST = float(np.finfo(np.float32).max)


class Page(msgspec.Struct, array_like=True):
    """The sample of one hour and one segment, as it is published. Arrays are bytes.

    scale: what decides the scores; those of another model cannot be compared with them.
    segment: None where the artifact has no segments.
    start: of the hour, in Unix seconds.
    limit: records whose ticket is below it are kept.
    records, alarms: (60,) uint32 counts by minute.
    minutes: (n,) uint8 of the kept records, tickets: (n,) uint32, scores: (n,) float32.
    """

    scale: str
    segment: str | None
    start: int
    limit: int
    records: bytes
    alarms: bytes
    minutes: bytes
    tickets: bytes
    scores: bytes


@dataclass
class Hour:
    """The sample of one hour and one segment, as it grows."""

    start: int
    limit: int
    records: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(60, np.uint32))
    alarms: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(60, np.uint32))
    dirty: bool = False  # the other workers have yet to see it
    _minutes: list[NDArray[np.uint8]] = field(default_factory=list)
    _tickets: list[NDArray[np.uint32]] = field(default_factory=list)
    _scores: list[NDArray[np.float32]] = field(default_factory=list)

    def add(
        self, minute: int, tickets: NDArray[np.uint32], scores: NDArray[np.float64], alarms: int
    ) -> int:
        """Take the records of a minute; returns how many are kept."""
        self.records[minute] += len(scores)
        self.alarms[minute] += alarms
        self.dirty = True
        kept = tickets < self.limit
        chosen = np.minimum(scores[kept], _LARGEST).astype(np.float32)
        if len(chosen):
            self._minutes.append(np.full(len(chosen), minute, np.uint8))
            self._tickets.append(tickets[kept])
            self._scores.append(chosen)
            if len(self._scores) > MOST_PARTS:
                self.arrays()
        return len(chosen)

    def thin(self, limit: int) -> int:
        """Lower the limit; returns how many are left."""
        minutes, tickets, scores = self.arrays()
        if limit < self.limit:
            kept = tickets < limit
            self._minutes, self._tickets = [minutes[kept]], [tickets[kept]]
            self._scores, self.limit, self.dirty = [scores[kept]], limit, True
        return sum(map(len, self._scores))

    def arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.float32]]:
        """Join what is kept: the minutes, tickets and scores, (n,) each."""
        self._minutes = [np.concatenate([np.empty(0, np.uint8), *self._minutes])]
        self._tickets = [np.concatenate([np.empty(0, np.uint32), *self._tickets])]
        self._scores = [np.concatenate([np.empty(0, np.float32), *self._scores])]
        return self._minutes[0], self._tickets[0], self._scores[0]

    def page(self, scale: str, segment: str | None) -> Page:
        """Return it as it is published."""
        arrays = [array.tobytes() for array in (self.records, self.alarms, *self.arrays())]
        return Page(scale, segment, self.start, self.limit, *arrays)


@dataclass
class Scores:
    """What one process keeps.

    folder: what workers share; None if there is one process.
    """

    folder: Path | None = None
    most: int = MOST_SCORES
    _generator: np.random.Generator = field(default_factory=np.random.default_rng)
    _scale: str = ""
    _limit: int = EVERY  # of the hours to come
    _hours: dict[tuple[int, str | None], Hour] = field(default_factory=dict)
    _kept: int = 0
    _published_at: float = 0.0

    def add(
        self, scale: str, scores: NDArray[np.float64], alarms: int, segment: str | None = None
    ) -> None:
        """Take (N,) scores of now, of which `alarms` alarm at the artifact's alpha."""
        if scale != self._scale:
            self._start_again(scale)
        now = int(time.time())
        start = now - now % HOUR
        hour = self._hours.get((start, segment))
        if hour is None:
            self._forget_old(now)
            hour = self._hours[start, segment] = Hour(start, self._limit)
        tickets = self._generator.integers(EVERY, size=len(scores), dtype=np.uint32)
        self._kept += hour.add((now - start) // MINUTE, tickets, scores, alarms)
        while self._kept > self.most:
            self._halve()

    def _halve(self) -> None:
        self._limit = max(1, min(hour.limit for hour in self._hours.values()) // 2)
        self._kept = sum(hour.thin(min(hour.limit, self._limit)) for hour in self._hours.values())

    def _start_again(self, scale: str) -> None:
        for start, segment in self._hours:
            self._unpublish(start, segment)
        self._scale, self._limit, self._kept, self._hours = scale, EVERY, 0, {}

    def _forget_old(self, now: int) -> None:
        """Forget what is too old; where there is room again, the next hours keep more."""
        for start, segment in [key for key in self._hours if key[0] + HOUR <= now - KEPT_SECONDS]:
            self._kept -= self._hours.pop((start, segment)).thin(0)
            self._unpublish(start, segment)
        if self._kept < self.most // 8:
            self._limit = min(EVERY, 2 * self._limit)

    def publish(self) -> None:
        """Share what is new with the other workers, unless the last time was too recent."""
        now = time.monotonic()
        if self.folder is None or now - self._published_at < PUBLISH_SECONDS:
            return
        self._published_at = now
        for (start, segment), hour in self._hours.items():
            if hour.dirty:
                _write(self._path(start, segment), hour.page(self._scale, segment))
                hour.dirty = False

    def _path(self, start: int, segment: str | None) -> Path:
        assert self.folder is not None
        name = "" if segment is None else sha256(segment.encode()).hexdigest()[:16]
        return self.folder / SCORES / f"{os.getpid()}-{start}-{name}"

    def _unpublish(self, start: int, segment: str | None) -> None:
        if self.folder is not None:
            self._path(start, segment).unlink(missing_ok=True)

    def mine(self, scale: str) -> list[Page]:
        """Return this process's pages of a scale."""
        return [
            hour.page(self._scale, segment)
            for (_, segment), hour in self._hours.items()
            if self._scale == scale
        ]

    def others(self, scale: str) -> list[Page]:
        """Return the pages of a scale that other workers have published."""
        if self.folder is None:
            return []
        return [page for page in _published(self.folder / SCORES) if page.scale == scale]


def _write(path: Path, page: Page) -> None:
    path.parent.mkdir(exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(msgspec.msgpack.encode(page))
    draft.rename(path)


def _published(folder: Path) -> Iterator[Page]:
    for path in folder.glob("[0-9]*"):
        if not path.name.startswith(f"{os.getpid()}-"):
            try:
                yield msgspec.msgpack.decode(path.read_bytes(), type=Page)
            except FileNotFoundError:  # its worker has just died, or forgotten it
                continue
