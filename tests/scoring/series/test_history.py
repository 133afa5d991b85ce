"""A history gives the same windows however the records come in, and as a slow derivation does."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.scoring.series.history import (
    MOST_TOGETHER,
    STANDINGS,
    Arrivals,
    History,
    Run,
    Standing,
    Taken,
    tiles,
)
from vaewatch.scoring.series.window import Pace, Window

STEP, GAP = 10, 35
PACE = Pace(mean=0.7, deviation=0.3)


def arrivals_of(entities: list[str] | None, moments: list[int]) -> Arrivals:
    """Records whose values say which record they are."""
    n = len(moments)
    number = np.arange(n, dtype=np.float32)
    unseen = np.zeros((n, 2), bool)
    unseen[::5, 1] = True
    return Arrivals(
        entities, np.array(moments, np.int64), np.column_stack([number, -number]), unseen
    )


def part(arrivals: Arrivals, rows: slice) -> Arrivals:
    names = None if arrivals.entities is None else list(arrivals.entities)[rows]
    return Arrivals(names, arrivals.moments[rows], arrivals.values[rows], arrivals.unseen[rows])


@dataclass
class Seen:
    """What became of records: their standings, the window of each, and whether it is unseen."""

    standings: list[str] = field(default_factory=list)
    windows: dict[int, np.ndarray] = field(default_factory=dict)
    unseen: dict[int, bool] = field(default_factory=dict)
    gaps: int = 0
    evicted: int = 0

    def take(self, taken: Taken, size: int, offset: int) -> None:
        self.standings += [STANDINGS[code].value for code in taken.standings.tolist()]
        self.gaps, self.evicted = self.gaps + taken.gaps, self.evicted + taken.evicted
        for run in taken.runs:
            marks = run.any_unseen()
            assert len(run.values) == len(run.unseen) == size - 1 + len(run.rows)
            for k, row in enumerate(run.rows.tolist()):
                self.windows[offset + row] = run.values[k : k + size]
                self.unseen[offset + row] = bool(marks[k])


def in_chunks(history: History, arrivals: Arrivals, cuts: list[int]) -> Seen:
    seen = Seen()
    bounds = sorted({0, len(arrivals.moments), *cuts})
    for start, end in zip(bounds, bounds[1:], strict=False):
        chunk = part(arrivals, slice(start, end))
        seen.take(history.add(chunk), history.window.size, start)
    return seen


def one_by_one(window: Window, arrivals: Arrivals) -> Seen:
    """The slow derivation: each record, and the list of those of its entity before it."""
    seen, lists = Seen(), defaultdict[str, list[int]](list)
    newest: dict[str, int] = {}
    paces: dict[int, float] = {}
    for row, moment in enumerate(arrivals.moments.tolist()):
        name = "" if arrivals.entities is None else arrivals.entities[row]
        last = newest.get(name)
        if last is not None and moment <= last:
            seen.standings.append("late" if moment < last else "repeated")
            continue
        paces[row] = 0.0
        if last is not None and moment - last > window.gap:
            lists[name] = []
            seen.gaps += 1
        elif last is not None and window.pace is not None:
            usual = np.log1p((moment - last) / window.step)
            paces[row] = (usual - window.pace.mean) / window.pace.deviation
        newest[name] = moment
        lists[name] = [*lists[name], row][-window.size :]
        if len(lists[name]) < window.size:
            seen.standings.append("warming_up")
            continue
        seen.standings.append("full")
        rows = lists[name]
        values = arrivals.values[rows]
        if window.pace is not None:
            values = np.column_stack([values, [paces[r] for r in rows]])
        seen.windows[row] = values
        seen.unseen[row] = bool(arrivals.unseen[rows].any())
    return seen


def assert_alike(a: Seen, b: Seen) -> None:
    assert a.standings == b.standings
    assert a.unseen == b.unseen and a.gaps == b.gaps
    assert a.windows.keys() == b.windows.keys()
    for row, window in a.windows.items():
        np.testing.assert_allclose(window, b.windows[row], rtol=1e-5, atol=1e-5)


records = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 8).map(lambda k: 10 * k - 20)), max_size=60
)


@settings(deadline=None, max_examples=150)
@given(records, st.lists(st.integers(0, 60), max_size=8), st.integers(2, 5), st.booleans())
def test_any_chunks_give_what_the_whole_and_each_record_alone_give(
    steps: list[tuple[str, int]], cuts: list[int], size: int, paced: bool
):
    """Steps go back, stand still, and jump over the gap; entities are mixed."""
    now = dict.fromkeys("abc", 1000)
    names, moments = [], []
    for name, step in steps:
        now[name] += step
        names.append(name)
        moments.append(now[name])
    arrivals = arrivals_of(names, moments)
    window = Window(size, GAP, STEP, PACE if paced else None)
    whole, pieces, single = History(window), History(window), History(window)
    slow = one_by_one(window, arrivals)
    cuts = [cut for cut in cuts if cut <= len(names)]
    assert_alike(in_chunks(whole, arrivals, []), slow)
    assert_alike(in_chunks(pieces, arrivals, cuts), slow)
    assert_alike(in_chunks(single, arrivals, list(range(len(names)))), slow)
    for history in (pieces, single):
        assert set(history.pasts) == set(whole.pasts)
        for name, past in history.pasts.items():
            assert past.last == whole.pasts[name].last
            assert np.array_equal(past.values, whole.pasts[name].values)
            assert np.array_equal(past.unseen, whole.pasts[name].unseen)
            assert len(past.values) < size


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-2, 6), max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_a_series_without_entities_is_one_series(steps: list[int], cuts: list[int]):
    moments = np.cumsum([10 * step for step in steps]).tolist()
    arrivals = arrivals_of(None, moments)
    window = Window(3, GAP, STEP)
    cuts = [cut for cut in cuts if cut <= len(moments)]
    assert_alike(in_chunks(History(window), arrivals, cuts), one_by_one(window, arrivals))


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.sampled_from("abcde"), max_size=40),
    st.lists(st.integers(0, 40), max_size=9),
    st.integers(1, 4),
)
def test_the_entities_that_were_seen_least_recently_leave_once_a_chunk_is_taken_in(
    names: list[str], cuts: list[int], most: int
):
    history, order = History(Window(3, GAP, STEP), most), list[str]()
    bounds = sorted({0, len(names), *(cut for cut in cuts if cut <= len(names))})
    for start, end in zip(bounds, bounds[1:], strict=False):
        chunk = names[start:end]
        taken = history.add(arrivals_of(chunk, [10 * k for k in range(start, end)]))
        for name in chunk:
            order = [each for each in order if each != name] + [name]
        assert taken.evicted == max(0, len(order) - most)
        order = order[-most:]
        assert list(history.pasts) == order and len(history) <= most


def test_an_entity_that_left_warms_up_again():
    history = History(Window(2, 10**6, STEP), most=1)
    taken = history.add(arrivals_of(["a", "a", "b"], [0, 10, 10]))
    assert taken.evicted == 1 and list(history.pasts) == ["b"]
    assert [STANDINGS[k] for k in taken.standings] == ["warming_up", "full", "warming_up"]
    taken = history.add(arrivals_of(["a"], [30]))
    assert STANDINGS[taken.standings[0]] is Standing.WARMING_UP


def test_a_million_entities_once_each_stay_within_the_memory():
    history = History(Window(4, GAP, STEP), most=100)
    evicted = 0
    for start in range(0, 20_000, 1000):
        names = [f"e{i}" for i in range(start, start + 1000)]
        evicted += history.add(arrivals_of(names, [0] * 1000)).evicted
    assert len(history) == 100 and evicted == 19_900


def test_a_pause_as_long_as_the_gap_does_not_part_and_a_longer_one_does():
    taken = History(Window(2, GAP, STEP)).add(arrivals_of(None, [0, GAP, 2 * GAP + 1]))
    assert [STANDINGS[k] for k in taken.standings] == ["warming_up", "full", "warming_up"]
    assert taken.gaps == 1


def test_late_and_repeated_records_change_nothing():
    window = Window(3, GAP, STEP, PACE)
    plain, disturbed = History(window), History(window)
    plain.add(arrivals_of(None, [0, 10, 20]))
    disturbed.add(arrivals_of(None, [0, 10, 20]))
    taken = disturbed.add(arrivals_of(None, [20, 5, -(10**15)]))
    assert [STANDINGS[k] for k in taken.standings] == ["repeated", "late", "late"]
    assert not taken.runs
    assert disturbed.pasts[""].last == plain.pasts[""].last
    assert np.array_equal(disturbed.pasts[""].values, plain.pasts[""].values)


def test_the_first_record_ever_may_be_at_any_moment():
    for moment in (-(2**58), 0, 2**58):
        taken = History(Window(2, GAP, STEP, PACE)).add(arrivals_of(None, [moment, moment + 10]))
        assert [STANDINGS[k] for k in taken.standings] == ["warming_up", "full"]
        assert taken.gaps == 0


def test_the_pace_is_usual_at_the_start_and_after_a_gap():
    history = History(Window(2, GAP, STEP, PACE))
    taken = history.add(arrivals_of(None, [0, 10, 100, 120]))
    first, second = taken.runs
    assert first.values[0, -1] == second.values[0, -1] == 0
    np.testing.assert_allclose(first.values[1, -1], (np.log1p(1) - 0.7) / 0.3, rtol=1e-6)
    np.testing.assert_allclose(second.values[1, -1], (np.log1p(2) - 0.7) / 0.3, rtol=1e-6)


def test_the_pace_feature_gives_back_its_seconds():
    since = np.array([1, 10, 25, 10**6], np.int64) * 10**6
    features = PACE.feature(since, 10 * 10**6)
    seconds = [PACE.seconds(float(f), 10 * 10**6) for f in features]
    np.testing.assert_allclose(seconds, since / 1e6, rtol=1e-4)


def test_no_records_leave_a_history_as_it_was():
    history = History(Window(2, GAP, STEP))
    for names in (None, []):
        taken = history.add(arrivals_of(names, []))
        assert not len(taken.standings) and not taken.runs and not len(history)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 3 * MOST_TOGETHER), min_size=1, max_size=6),
    st.lists(st.integers(1, 6), max_size=200),
    st.integers(2, 9),
)
def test_each_window_is_in_one_tile(long: list[int], short: list[int], size: int):
    runs, first = [], 0
    for n in long + short:
        values = np.arange(first, first + n + size - 1, dtype=np.float32)[:, None]
        runs.append(Run(np.arange(first, first + n), values, np.zeros((len(values), 1), bool)))
        first += n + size
    found = {}
    for rows, records in tiles(runs, size):
        stretches, length, _ = records.shape
        n = length - size + 1
        assert len(rows) == stretches * n <= MOST_TOGETHER
        for k, row in enumerate(rows.tolist()):
            own = records[k // n, k % n : k % n + size, 0]
            assert row not in found
            found[row] = own[0], own[-1]
    assert found == {int(row): (row, row + size - 1) for run in runs for row in run.rows}


def test_tiles_of_wide_windows_are_small():
    values = np.zeros((1200, 9000), np.float32)
    run = Run(np.arange(1101), values, np.zeros((1200, 1), bool))
    sizes = [records.shape for _, records in tiles([run], 100)]
    assert sum(shape[1] - 99 for shape in sizes) == 1101
    assert max(shape[1] - 99 for shape in sizes) * 100 * 9000 <= 1 << 22


@pytest.mark.parametrize("size", [2, 5])
def test_a_run_knows_which_of_its_windows_hold_something_unseen(size: int):
    rng = np.random.default_rng(0)
    unseen = rng.random((50, 3)) < 0.05
    run = Run(np.arange(50 - size + 1), np.zeros((50, 2), np.float32), unseen)
    want = [bool(unseen[i : i + size].any()) for i in range(50 - size + 1)]
    assert run.any_unseen().tolist() == want
