"""verdicts -> a uniform sample of the scores of the last seven days, by minute and segment.

Only scores are kept, never values. Each record draws a ticket, a number of 32 bits, and is kept if
the ticket lies below a limit. When MOST_SCORES are kept the limit is halved and those above it go,
so that memory stays bounded and what is left is a uniform sample of all records, in every minute
and every worker alike. Counts of records are exact.

A score is held as a float32: its rounding, 6e-8 of the score, is far below the 1e-5 at which the
calibration calls two scores equal. Where the artifact has a segment, the code of the record's is
held beside its score, in one byte: so memory does not depend on how many segments there are.

Where the artifact has a time, the record's moment is held beside its score: what people have
confirmed is found by it. Where it has a window, neighbours are alike, and what is computed must
know them. So the records of a section of an entity's time draw one ticket together, and a number
for the entity is held as well.

With several workers each publishes its pages, one an hour, in a folder beside the metrics, at most
every ten seconds. What a dead worker had is lost, and all of it when the service stops.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.service.watch.trail import Trail
from vaewatch.service.watch.window import SCORES

MINUTE, HOUR = 60, 3600  # seconds
KEPT_SECONDS = 7 * 24 * HOUR
MOST_SCORES = 1 << 18  # in a process: two to three MiB, five with a time, six with a window
PUBLISH_SECONDS = 10.0
MOST_PARTS = 256  # arrays of an hour that are not joined yet: each takes room of its own
EVERY = 1 << 32  # the limit below which every ticket lies

_LARGEST = float(np.finfo(np.float32).max)


class Page(msgspec.Struct, array_like=True):
    """The sample of one hour, as it is published. Arrays are bytes.

    scale: what decides the scores; those of another model cannot be compared with them.
    start: of the hour, in Unix seconds.
    limit: records whose ticket is below it are kept.
    records: (60,) uint32 counts by minute.
    minutes: (n,) uint8 of the kept records, tickets: (n,) uint32, scores: (n,) float32.
    codes: (n,) uint8 of their segments; empty where the artifact has no segment.
    entities: (n,) uint32; empty where the artifact has no window.
    moments: (n,) int64, NO_TIME where missing; empty where the artifact has no time.
    """

    scale: str
    start: int
    limit: int
    records: bytes
    minutes: bytes
    tickets: bytes
    scores: bytes
    codes: bytes
    entities: bytes = b""
    moments: bytes = b""


@dataclass(frozen=True)
class Kept:
    """Records of an hour, (n,) each; `codes` is empty where the artifact has no segment,
    `entities` where it has no window, `moments` where it has no time.
    """

    minutes: NDArray[np.uint8]
    tickets: NDArray[np.uint32]
    scores: NDArray[np.float32]
    codes: NDArray[np.uint8]
    entities: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    moments: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.scores)

    def below(self, limit: int) -> Kept:
        """Return those whose ticket lies below a limit."""
        kept = self.tickets < limit
        return Kept(
            self.minutes[kept],
            self.tickets[kept],
            self.scores[kept],
            self.codes[kept] if len(self.codes) else self.codes,
            self.entities[kept] if len(self.entities) else self.entities,
            self.moments[kept] if len(self.moments) else self.moments,
        )

    @classmethod
    def joined(cls, parts: Sequence[Kept]) -> Kept:
        """Join parts, of which there is at least one."""
        return cls(
            np.concatenate([part.minutes for part in parts]),
            np.concatenate([part.tickets for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.codes for part in parts]),
            np.concatenate([part.entities for part in parts]),
            np.concatenate([part.moments for part in parts]),
        )


NO_CODES = np.empty(0, np.uint8)
NOTHING = Kept(NO_CODES, np.empty(0, np.uint32), np.empty(0, np.float32), NO_CODES)


@dataclass
class Hour:
    """The sample of one hour, as it grows."""

    start: int
    limit: int
    records: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(60, np.uint32))
    dirty: bool = False  # the other workers have yet to see it
    _parts: list[Kept] = field(default_factory=list)

    def add(self, minute: int, drawn: Kept) -> int:
        """Take the records of a minute; returns how many are kept."""
        self.records[minute] += len(drawn)
        self.dirty = True
        chosen = drawn.below(self.limit)
        if len(chosen):
            self._parts.append(chosen)
            if len(self._parts) > MOST_PARTS:
                self.kept()
        return len(chosen)

    def thin(self, limit: int) -> int:
        """Lower the limit; returns how many are left."""
        kept = self.kept()
        if limit < self.limit:
            kept = kept.below(limit)
            self._parts, self.limit, self.dirty = [kept], limit, True
        return len(kept)

    def kept(self) -> Kept:
        """Join what is kept."""
        self._parts = [Kept.joined(self._parts or [NOTHING])]
        return self._parts[0]

    def page(self, scale: str) -> Page:
        """Return it as it is published."""
        kept = self.kept()
        arrays: list[NDArray[Any]] = [self.records, kept.minutes, kept.tickets]
        arrays += [kept.scores, kept.codes, kept.entities, kept.moments]
        return Page(scale, self.start, self.limit, *(array.tobytes() for array in arrays))


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
    _hours: dict[int, Hour] = field(default_factory=dict)
    _kept: int = 0
    _published_at: float = 0.0

    def add(
        self,
        scale: str,
        scores: NDArray[np.float64],
        codes: NDArray[np.int32] | None = None,
        trail: Trail | None = None,
        moments: NDArray[np.int64] | None = None,
    ) -> None:
        """Take (N,) scores of now.

        Args:
            codes: (N,) of their segments, if the artifact has a segment.
            trail: their places, if it has a window.
            moments: (N,) of their own, if it has a time and no window.
        """
        if scale != self._scale:
            self._start_again(scale)
        now, n = int(time.time()), len(scores)
        start = now - now % HOUR
        hour = self._hours.get(start)
        if hour is None:
            self._forget_old(now)
            hour = self._hours[start] = Hour(start, self._limit)
        minute = (now - start) // MINUTE
        drawn = Kept(
            np.full(n, minute, np.uint8),
            trail.tickets if trail else self._generator.integers(EVERY, size=n, dtype=np.uint32),
            np.minimum(scores, _LARGEST).astype(np.float32),
            NO_CODES if codes is None else codes.astype(np.uint8),
        )
        if trail is not None:
            drawn = replace(drawn, entities=trail.entities, moments=trail.moments)
        elif moments is not None:
            drawn = replace(drawn, moments=moments)
        self._kept += hour.add(minute, drawn)
        while self._kept > self.most:
            self._halve()

    def _halve(self) -> None:
        self._limit = max(1, min(hour.limit for hour in self._hours.values()) // 2)
        self._kept = sum(hour.thin(min(hour.limit, self._limit)) for hour in self._hours.values())

    def _start_again(self, scale: str) -> None:
        for start in self._hours:
            self._unpublish(start)
        self._scale, self._limit, self._kept, self._hours = scale, EVERY, 0, {}

    def _forget_old(self, now: int) -> None:
        """Forget what is too old; where there is room again, the next hours keep more."""
        for start in [start for start in self._hours if start + HOUR <= now - KEPT_SECONDS]:
            self._kept -= self._hours.pop(start).thin(0)
            self._unpublish(start)
        if self._kept < self.most // 8:
            self._limit = min(EVERY, 2 * self._limit)

    def publish(self) -> None:
        """Share what is new with the other workers, unless the last time was too recent."""
        now = time.monotonic()
        if self.folder is None or now - self._published_at < PUBLISH_SECONDS:
            return
        for start, hour in self._hours.items():
            if hour.dirty:
                _write(self._path(start), hour.page(self._scale))
                hour.dirty = False
        self._published_at = now

    def _path(self, start: int) -> Path:
        assert self.folder is not None
        return self.folder / SCORES / f"{os.getpid()}-{start}"

    def _unpublish(self, start: int) -> None:
        if self.folder is not None:
            self._path(start).unlink(missing_ok=True)

    def mine(self, scale: str) -> list[Page]:
        """Return this process's pages of a scale."""
        return [hour.page(scale) for hour in self._hours.values() if self._scale == scale]

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
