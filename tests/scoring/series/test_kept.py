"""A history survives its way to bytes and back; whatever else is refused in words."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scoring.series.test_history import GAP, PACE, STEP, arrivals_of
from vaewatch.scoring.series.history import History
from vaewatch.scoring.series.kept import (
    KeptError,
    history_key,
    pack_history,
    unpack_history,
)
from vaewatch.scoring.series.window import Pace, Window

WINDOW = Window(4, GAP, STEP, PACE)
WIDTH, COLUMNS = 3, 2  # the pace is a number, too
KEY = history_key("v1", WINDOW)


def filled(names: list[str], most: int | None = None) -> History:
    history = History(WINDOW, most)
    history.add(arrivals_of(names, [10 * k for k in range(len(names))]))
    return history


def unpacked(content: bytes, most: int | None = None, key: str = KEY) -> History:
    return unpack_history(content, key, History(WINDOW, most), WIDTH, COLUMNS)


def assert_same(a: History, b: History) -> None:
    assert list(a.pasts) == list(b.pasts)
    for one, other in zip(a.pasts.values(), b.pasts.values(), strict=True):
        assert one.last == other.last
        assert one.values.dtype == other.values.dtype == np.float32
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.unseen, other.unseen)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.text(max_size=5), max_size=40))
def test_a_history_comes_back_as_it_was_and_goes_on_alike(names: list[str]):
    history = filled(names)
    again = unpacked(pack_history(history, KEY))
    assert_same(history, again)
    more = arrivals_of(["a", "b"] * 4, [10 * (len(names) + k) for k in range(8)])
    first, second = history.add(more), again.add(more)
    assert first.standings.tolist() == second.standings.tolist() and first.gaps == second.gaps
    for one, other in zip(first.runs, second.runs, strict=True):
        assert np.array_equal(one.values, other.values)
        assert np.array_equal(one.unseen, other.unseen)
    assert_same(history, again)


def test_what_does_not_fit_into_the_memory_is_the_least_recently_seen():
    history = filled(["a", "b", "c", "a"])
    content = pack_history(history, KEY)
    assert list(unpacked(content).pasts) == ["b", "c", "a"]
    assert list(unpacked(content, most=2).pasts) == ["c", "a"]
    assert list(unpacked(content, most=0).pasts) == []


@pytest.mark.parametrize(
    "key",
    [
        history_key("v2", WINDOW),
        history_key("v1", Window(5, GAP, STEP, PACE)),
        history_key("v1", Window(4, GAP, STEP)),
        history_key("v1", Window(4, GAP, STEP, Pace(0.7, 0.31))),
        "",
    ],
)
def test_a_history_of_another_artifact_is_refused(key: str):
    assert key != KEY
    content = pack_history(filled(["a"]), key)
    with pytest.raises(KeptError, match="must be that of the artifact, got another one's"):
        unpacked(content)


def test_a_key_stays_from_one_process_to_the_next():
    assert history_key("v1", Window(4, GAP, STEP)) == "4e5fba491a9c63f9"


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_bytes_are_refused_or_a_history_of_finite_numbers(data: st.DataObject):
    """A bit may change to another sound value; then it still is a history that can go on."""
    content = bytearray(pack_history(filled(["a", "b", "a", "b", "a"]), KEY))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:end])):
        try:
            history = unpacked(damaged)
        except KeptError as error:
            assert "\n" not in str(error)
            continue
        for past in history.pasts.values():
            assert past.values.shape[1:] == (WIDTH,) and past.unseen.shape[1:] == (COLUMNS,)
            assert len(past.values) == len(past.unseen) < WINDOW.size
            assert np.isfinite(past.values).all()
        history.add(arrivals_of(["a", "b", "c"], [10**9] * 3))


def packed(**changes: object) -> bytes:
    one = {
        "entity": "a",
        "last": 5,
        "records": 2,
        "values": np.zeros(2 * WIDTH, np.float32).tobytes(),
        "unseen": bytes(1),
    } | changes
    return msgspec.msgpack.encode([KEY, [list(one.values())]])


def test_bytes_as_they_are_written_are_taken():
    assert len(unpacked(packed()).pasts["a"].values) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"records": -1},
        {"records": 4},
        {"records": 10**12},
        {"records": 2**63},
        {"records": 1},
        {"last": 2**63},
        {"last": -(2**63)},
        {"last": 2**60},
        {"last": "5"},
        {"entity": 7},
        {"values": b""},
        {"values": bytes(7)},
        {"values": np.full(2 * WIDTH, np.nan, np.float32).tobytes()},
        {"values": np.full(2 * WIDTH, np.inf, np.float32).tobytes()},
        {"unseen": b""},
        {"unseen": bytes(2)},
    ],
    ids=str,
)
def test_a_past_that_is_not_as_it_is_written_is_refused(changes: dict[str, object]):
    with pytest.raises(KeptError, match="must be as this release writes it"):
        unpacked(packed(**changes))


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x00", b"null", b"[]", bytes(1000)])
def test_bytes_that_are_no_history_are_refused(content: bytes):
    with pytest.raises(KeptError, match="must be as this release writes it"):
        unpacked(content)
