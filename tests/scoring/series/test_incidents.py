"""Alarms to incidents, against a loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.scoring.series.incidents import incident_starts, per_day
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.form import DAY

WINDOW = Window(3, 1000, 10)
alarms = st.lists(st.tuples(st.sampled_from(["a", "b", "ü"]), st.integers(-200, 200)), max_size=40)


@settings(deadline=None, max_examples=200)
@given(alarms, st.booleans())
def test_alarms_of_one_entity_no_further_apart_than_a_window_are_one(
    found: list[tuple[str, int]], named: bool
):
    """In any order, and with several at one moment."""
    names = [name if named else "" for name, _ in found]
    moments = np.array([moment for _, moment in found], np.int64)
    starts = incident_starts(names if named else None, moments, WINDOW)
    last: dict[str, int] = {}
    count = 0
    for name, moment in sorted(zip(names, moments.tolist(), strict=True), key=lambda a: a[1]):
        count += name not in last or moment - last[name] > 30
        last[name] = moment
    assert starts.sum() == count and starts.shape == (len(found),)
    for name in set(names):
        own = [i for i, each in enumerate(names) if each == name]
        earliest = min(moments[own])
        assert any(starts[i] for i in own if moments[i] == earliest)


def test_incidents_a_day_are_counted_in_the_time_of_the_records():
    window = Window(3, 1000, DAY // 100)
    assert per_day(5, 200, window) == 2.5
    assert per_day(0, 0, window) == 0
