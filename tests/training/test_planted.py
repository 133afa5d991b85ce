"""Planted anomalies: each fault is where it should be, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.conftest import make_frame
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import missing_code, other_code
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.planted import FAR, MOST_MOVED, Fault, plant
from vaewatch.training.config import TrainConfig
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.schema import infer_schema


@pytest.fixture(scope="module")
def table(scorer: Scorer) -> Table:
    return checked_table(scorer.artifact.schema, make_frame(500, seed=8))


def planted(fault: Fault, table: Table, scorer: Scorer) -> Table:
    faulty = plant(fault, table, scorer.artifact.vectorizer, np.random.default_rng(0))
    assert faulty is not None
    return faulty


def cells(table: Table) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """All cells as numbers, a missing number as -1."""
    return np.nan_to_num(np.concatenate([table.numbers, table.codes], 1), nan=-1.0)


def test_shuffled_values_are_those_of_other_records(table: Table, scorer: Scorer):
    faulty = planted(Fault.SHUFFLED, table, scorer)
    before, after = cells(table), cells(faulty)
    for old, new in zip(before.T, after.T, strict=True):
        assert set(new) <= set(old)
    amount = before[:, 0] != after[:, 0]  # hardly two are equal
    assert 0.4 < amount.mean() < 0.6


def test_far_numbers_are_moved_in_the_units_of_their_feature(table: Table, scorer: Scorer):
    faulty = planted(Fault.FAR, table, scorer)
    np.testing.assert_array_equal(faulty.codes, table.codes)
    given = ~np.isnan(table.numbers)
    moved = given & (faulty.numbers != table.numbers)
    chosen = np.isnan(table.numbers) & ~np.isnan(faulty.numbers)  # from the mean, where missing
    assert set((moved | chosen).sum(1)) == set(range(1, MOST_MOVED + 1))
    names = [column.name for column in table.schema.numeric]
    logs = {f.column for f in scorer.artifact.vectorizer.features if f.log1p}
    assert logs == {"items"} and not moved[:, names.index("version")].any()  # a constant
    for name, old, new, at in zip(names, table.numbers.T, faulty.numbers.T, moved.T, strict=True):
        scale = (lambda x: np.sign(x) * np.log1p(np.abs(x))) if name in logs else np.asarray
        deviation = np.nanstd(scale(old))
        steps = np.abs(scale(new) - scale(old))[at]
        np.testing.assert_allclose(steps, FAR * deviation, rtol=0.05)


def test_a_few_far_records_do_not_stretch_what_is_far(table: Table, scorer: Scorer):
    stretched = table.numbers.copy()
    stretched[::10, 0] += 1e4
    faulty = planted(Fault.FAR, replace(table, numbers=stretched), scorer)
    steps = np.abs(faulty.numbers - stretched)[:, 0]
    assert 0 < steps.max() < 2 * FAR * table.numbers[:, 0].std()


def test_one_value_is_missing(table: Table, scorer: Scorer):
    faulty = planted(Fault.MISSING, table, scorer)
    numbers = np.isnan(faulty.numbers)
    gone = np.array([missing_code(column) for column in table.schema.discrete])
    codes = faulty.codes == gone
    own = np.isnan(table.numbers).sum(1)
    assert set(np.c_[numbers, codes].sum(1) - own) <= {0, 1}
    assert np.c_[numbers, codes].any(0).all()


def test_one_category_is_not_in_the_schema(table: Table, scorer: Scorer):
    faulty = planted(Fault.UNSEEN, table, scorer)
    changed = faulty.codes != table.codes
    other = np.array([other_code(column) for column in table.schema.discrete])
    assert np.all(changed.sum(1) == 1) and np.all((faulty.codes == other)[changed])
    kinds = {c.name for c, some in zip(table.schema.discrete, changed.any(0), strict=True) if some}
    assert kinds == {"country", "currency"}  # a boolean has no other category


def test_a_fault_that_the_columns_cannot_have_is_not_planted():
    frame = pl.DataFrame({"flag": [True, False] * 20})
    table = checked_table(infer_schema(frame, TrainConfig()), frame)
    vectorizer, rng = fit_vectorizer(table), np.random.default_rng(0)
    found = [fault for fault in Fault if plant(fault, table, vectorizer, rng) is not None]
    assert found == [Fault.MISSING]
