"""Windows and their folds, against loops over records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vaewatch.scoring.series.history import Arrivals, History
from vaewatch.scoring.series.window import Window
from vaewatch.training.series.windows import Windows


def windows_of(size: int, seed: int, entities: int = 4, n: int = 300) -> Windows:
    """Windows of records of several entities in order of time, with gaps and runs of any length;
    the first feature is the number of the record.
    """
    rng = np.random.default_rng(seed)
    names = [f"e{i}" for i in rng.integers(0, entities, n)]
    moments = np.cumsum(rng.choice([1, 1, 1, 2, 60], n, p=[0.3, 0.3, 0.2, 0.19, 0.01]))
    values = np.column_stack([np.arange(n), rng.normal(size=n)]).astype(np.float32)
    unseen = rng.random((n, 2)) < 0.02
    taken = History(Window(size, 40, 1)).add(Arrivals(names, moments, values, unseen))
    return Windows(size, taken.runs, moments, np.zeros(len(taken.runs), np.int64))


def records_of(windows: Windows) -> list[set[int]]:
    """Return the records of each window, from the runs themselves."""
    return [
        set(run.values[k : k + windows.size, 0].astype(int).tolist())
        for run in windows.runs
        for k in range(len(run.rows))
    ]


@pytest.mark.parametrize(("size", "seed"), [(2, 0), (5, 1), (12, 2), (12, 3)])
def test_windows_are_told_apart_by_the_records_that_they_share(size: int, seed: int):
    windows = windows_of(size, seed)
    records = records_of(windows)
    assert len(records) == len(windows) > 20
    folds = windows.folds(6)
    beside = windows.beside(folds, 6)
    for i, own in enumerate(records):
        for fold in range(6):
            shared = fold != folds[i] and any(
                folds[j] == fold and own & other for j, other in enumerate(records)
            )
            assert beside[i, fold] == shared, (i, fold)


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_blocks_of_time_of_like_size_whatever_the_entity(seed: int):
    windows = windows_of(5, seed)
    folds = windows.folds(6)
    ends = windows.moments[windows.rows]
    assert (np.diff(folds[np.argsort(ends, kind="stable")]) >= 0).all()
    counts = np.bincount(folds, minlength=6)
    assert counts.max() - counts.min() <= 1


def test_windows_of_one_moment_may_be_parted_but_never_lost():
    """All entities at one instant: the order of the entities parts them."""
    windows = windows_of(2, 0)
    same = replace(windows, moments=np.zeros_like(windows.moments))
    assert np.bincount(same.folds(6)).sum() == len(same)


@pytest.mark.parametrize("size", [2, 7])
def test_take_gives_the_records_of_each_window_in_order(size: int):
    windows = windows_of(size, 5)
    every = [run.values[k : k + size] for run in windows.runs for k in range(len(run.rows))]
    rng = np.random.default_rng(1)
    for chosen in (np.arange(len(windows)), rng.integers(0, len(windows), 40), np.array([], int)):
        got = windows.take(chosen)
        assert got.shape == (len(chosen), size, 2) and got.dtype == np.float32
        for k, window in zip(chosen.tolist(), got, strict=True):
            assert np.array_equal(window, every[k])
    assert windows.rows.tolist() == [int(each[-1, 0]) for each in every]
