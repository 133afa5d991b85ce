"""A request's place: what it takes up is given out and taken back by one object."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest
from starlette.types import Message

from vaewatch.service.http.body import read_body
from vaewatch.service.http.exchange import Request
from vaewatch.service.http.limits import Limits, Place
from vaewatch.service.http.problems import Overloaded, TooLarge
from vaewatch.service.settings import Settings
from vaewatch.service.watch.metrics import Metrics


def limits_of(**given: int) -> Limits:
    return Limits(Settings(Path("artifact"), **given), Metrics())  # type: ignore[arg-type]


def taken(limits: Limits) -> tuple[int, int, int]:
    return limits.pending_bytes, limits.in_flight, limits.metrics.busy


def test_leaving_a_place_gives_all_of_it_back():
    limits = limits_of()
    with Place(limits) as place:
        place.hold(10)
        place.hold(5)
        place.take_slot()
        place.take_slot()
        assert taken(limits) == (15, 1, 1)
        with place:  # as the console does, to leave it early
            pass
        assert taken(limits) == (0, 0, 0)
    assert taken(limits) == (0, 0, 0)
    assert place.size == 15


def test_a_place_that_was_given_out_by_the_connection_has_its_slot():
    limits = limits_of(max_in_flight=1)
    place = Place(limits, slotted=True)
    assert taken(limits) == (0, 1, 0)
    place.enter_with(7)
    assert taken(limits) == (7, 1, 1)
    with Place(limits) as other, pytest.raises(Overloaded, match="at most 1 requests"):
        other.require_slot()
    place.__exit__()
    assert taken(limits) == (0, 0, 0)


def test_a_refusal_gives_back_what_was_taken_before_it():
    limits = limits_of(max_body_bytes=10, max_pending_bytes=15)
    with Place(limits) as one:
        one.hold(10)
        assert one.fits(5) and not one.fits(6)
        with pytest.raises(Overloaded, match="at most 15 bytes"), Place(limits) as other:
            other.hold(6)
        assert taken(limits) == (10, 0, 1)
    with pytest.raises(TooLarge, match="at most 10 bytes"), Place(limits) as large:
        large.hold(11)
    assert taken(limits) == (0, 0, 0)


async def read(limits: Limits, body: bytes, packed: bool) -> int:
    """The bytes held while a body is read in two parts."""
    parts = [body[:5], body[5:]]
    headers = [(b"content-encoding", b"gzip")] if packed else []

    async def receive() -> Message:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    scope = {"method": "POST", "path": "/", "query_string": b"", "headers": headers}
    scope["http_version"] = "1.1"
    with Place(limits) as place:
        assert await read_body(Request(scope, receive, place)) == b"x" * 1000
        assert limits.in_flight == 1
        return limits.pending_bytes


def test_an_unpacked_body_counts_instead_of_the_packed_one():
    limits, body = limits_of(), b"x" * 1000
    assert asyncio.run(read(limits, body, packed=False)) == 1000
    assert asyncio.run(read(limits, gzip.compress(body), packed=True)) == 1000
    assert taken(limits) == (0, 0, 0)
