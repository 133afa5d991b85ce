"""What requests and connections take up, within the limits of one process.

Nothing queues without end: a request that would exceed a limit is refused at once.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from types import TracebackType
from typing import Protocol

from vaewatch.service.http.problems import Overloaded, TooLarge
from vaewatch.service.settings import Settings
from vaewatch.service.watch.metrics import Metrics

log = logging.getLogger("vaewatch.service")

OTHER_FILES = 128  # beside connections
SURPLUS = 64  # connections beyond the limit, for probes
LOOK_SECONDS = 20e-6  # between two looks at all connections, for each: a look costs far less
FEW = 128  # connections may be looked at any time


@dataclass
class Limits:
    """What all requests of one process take up now, and how much they may.

    in_flight: requests whose body is whole and whose answer is not made yet.
    pending_bytes: of all bodies held.
    """

    settings: Settings
    metrics: Metrics
    in_flight: int = 0
    pending_bytes: int = 0

    @property
    def full(self) -> bool:
        return self.in_flight >= self.settings.max_in_flight

    def overloaded(self) -> Overloaded:
        """The refusal of a request for which there is no slot."""
        return Overloaded(
            f"at most {self.settings.max_in_flight} requests are scored at one time. "
            "Try again after Retry-After seconds."
        )

    def too_large(self) -> TooLarge:
        """The refusal of a body that is longer than `max_body_bytes`."""
        return TooLarge(
            f"a body must be at most {self.settings.max_body_bytes:,} bytes. Send it in parts."
        )


class Member(Protocol):
    """A connection of a crowd.

    surplus: it is one too many, so that only probes are answered on it.
    """

    surplus: bool

    def idle_since(self, now: float) -> float | None:
        """The time since which there is nothing to be lost by closing it; None if there is."""

    def drop(self) -> None:
        """Close it."""


@dataclass
class Crowd:
    """Makes room where there are as many connections as there may be, so that a client who holds
    them all keeps nobody else out: the longest idle one is closed for a newcomer. If none is idle
    the newcomer is one of a few on which only probes are answered, or is closed.
    """

    settings: Settings
    metrics: Metrics
    _idle: list[tuple[float, Member]] = field(default_factory=list)  # the longest idle last
    _looked: float = 0.0

    def admit(self, newcomer: Member, members: Collection[Member]) -> None:
        """Make room for a newcomer, which is among the members already."""
        if len(members) <= self.settings.max_connections:
            return
        self.metrics.connections_refused.inc()
        idle = self._longest_idle(newcomer, members)
        if idle is not None:
            newcomer.surplus = idle.surplus
            idle.drop()
        elif len(members) <= self.settings.max_connections + SURPLUS:
            newcomer.surplus = True
        else:
            newcomer.drop()

    def _longest_idle(self, newcomer: Member, members: Collection[Member]) -> Member | None:
        now = monotonic()
        while True:
            while self._idle:
                since, member = self._idle.pop()
                if member in members and member.idle_since(now) == since:
                    return member
            if now - self._looked < len(members) * LOOK_SECONDS and len(members) > FEW:
                return None
            self._looked = now
            found = ((member.idle_since(now), member) for member in members)
            idle = [(at, each) for at, each in found if at is not None and each is not newcomer]
            if not idle:
                return None
            self._idle = sorted(idle, key=lambda pair: pair[0], reverse=True)

    def overfull(self) -> Overloaded:
        """The refusal of a request that came on a connection too many."""
        return Overloaded(
            f"at most {self.settings.max_connections} connections are served at one time. "
            "Try again after Retry-After seconds."
        )


def with_files_enough(settings: Settings) -> Settings:
    """Raise the number of files that the process may open to what its connections need. Where that
    may not be, lower `max_connections`: a client for whom there is no file waits without end.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = SURPLUS + OTHER_FILES
    wanted = settings.max_connections + others
    if resource.RLIM_INFINITY == soft or soft >= wanted:
        return settings
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft >= wanted:
        return settings
    connections = max(1, soft - others)
    log.warning("--max-connections is %d: %d open files are allowed", connections, soft)
    return replace(settings, max_connections=connections)


class Place:
    """What one request takes up: the bytes of its body, a slot among the requests being scored,
    and a count of one among those in progress. Leaving its `with` block gives everything back.

    slotted: whether it has a slot; one that is made with it takes it at once, where the caller has
        seen that the limits are not full.
    size: bytes of the body; it stays after they are given back.
    """

    __slots__ = ("_entered", "_held", "limits", "size", "slotted")

    def __init__(self, limits: Limits, slotted: bool = False) -> None:
        self.limits, self.slotted, self._entered = limits, slotted, False
        self.size = self._held = 0
        if slotted:
            limits.in_flight += 1

    def __enter__(self) -> Place:
        if not self._entered:
            self._entered = True
            self.limits.metrics.busy += 1
        return self

    def enter_with(self, size: int) -> None:
        """Enter, with a whole body that fits."""
        limits = self.limits
        self._entered, self.size, self._held = True, size, size
        limits.metrics.busy += 1
        limits.pending_bytes += size

    def require_slot(self) -> None:
        """Refuse the request if there is no slot for it; do so before its body is read."""
        if not self.slotted and self.limits.full:
            raise self.limits.overloaded()

    def take_slot(self) -> None:
        """Take a slot, unless the request has one; or refuse it."""
        if not self.slotted:
            self.require_slot()
            self.slotted = True
            self.limits.in_flight += 1

    def fits(self, size: int) -> bool:
        """Whether so many more bytes are within the limits."""
        settings = self.limits.settings
        left = settings.max_pending_bytes - self.limits.pending_bytes
        return size <= min(settings.max_body_bytes, left)

    def hold(self, size: int) -> None:
        """Count so many more bytes of the body, or refuse the request."""
        limits, settings = self.limits, self.limits.settings
        self.size += size
        self._held += size
        limits.pending_bytes += size
        if self.size > settings.max_body_bytes:
            raise limits.too_large()
        if limits.pending_bytes > settings.max_pending_bytes:
            raise Overloaded(
                f"at most {settings.max_pending_bytes:,} bytes of bodies are held at one time. "
                "Try again after Retry-After seconds."
            )

    def hold_unpacked(self, size: int) -> None:
        """Count the unpacked body instead of the packed one."""
        self.limits.pending_bytes -= self._held
        self.size = self._held = 0
        self.hold(size)

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        limits = self.limits
        limits.pending_bytes -= self._held
        self._held = 0
        if self.slotted:
            self.slotted = False
            limits.in_flight -= 1
        if self._entered:
            self._entered = False
            limits.metrics.busy -= 1
