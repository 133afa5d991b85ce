"""The population stability index against its formula, and what it does when something changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.conftest import make_frame
from vaewatch.scoring.drift import BINS, FEW, count_bins
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table, table_of
from vaewatch.training.calibration.calibrate import fit_drift


def test_counts_add_up_to_the_records(scorer: Scorer, mixed_frame: pl.DataFrame):
    drift = scorer.artifact.drift
    table = checked_table(scorer.artifact.schema, mixed_frame)
    assert (drift.count(table).sum(axis=1) == len(mixed_frame)).all()
    np.testing.assert_array_equal(drift.count(table), drift.counts)


def test_a_value_on_an_edge_is_in_the_upper_bin_and_a_missing_one_in_the_last(scorer: Scorer):
    drift = scorer.artifact.drift
    edges = drift.edges[0]
    values = np.concatenate([edges, [np.nan, -np.inf, np.inf], edges[2:5] - 1e-9])
    table = checked_table(drift.schema, make_frame(len(values), seed=1))
    numbers = table.numbers.copy()
    numbers[:, 0] = values
    moved = Table(table.schema, numbers, table.codes, table.texts)
    want = np.searchsorted(edges, values, side="right")
    want[np.isnan(values)] = BINS
    at = drift.schema.names.index(drift.schema.numeric[0].name)
    assert drift.count(moved)[at][: BINS + 1].tolist() == np.bincount(want, minlength=11).tolist()


@pytest.mark.parametrize("records", [1, FEW, FEW + 1])
def test_many_records_are_counted_like_few(records: int):
    rng = np.random.default_rng(records)
    values = [0.0, 1.5, -1.5, np.nan, np.inf, -np.inf]
    numbers = rng.choice(values, (records, 5))
    edges = np.sort(rng.choice([0.0, 1.5, 2.0], (5, BINS - 1)), axis=1)
    schema = Schema(tuple(Column(name, Kind.NUMERIC) for name in "abcde"))
    table = Table(schema, numbers, np.empty((records, 0), np.int32), ())
    bins = np.array(list(map(lambda e, c: np.searchsorted(e, c, side="right"), edges, numbers.T)))
    bins[np.isnan(numbers.T)] = BINS
    want = [np.bincount(column, minlength=BINS + 1).tolist() for column in bins]
    assert count_bins(schema, edges, table).tolist() == want


def test_psi_is_its_formula(scorer: Scorer):
    table = checked_table(scorer.artifact.schema, make_frame(300, seed=5))
    drift = fit_drift(table)
    live = drift.count(checked_table(scorer.artifact.schema, make_frame(200, seed=6)))
    at = scorer.artifact.schema.names.index("country")
    p, q = drift.counts[at][:5] + 0.5, live[at][:5] + 0.5
    p, q = p / p.sum(), q / q.sum()
    assert np.isclose(drift.psi(live)[at], np.sum((q - p) * np.log(q / p)))


def test_psi_is_small_for_the_same_source_and_large_after_a_shift(scorer: Scorer):
    schema, drift = scorer.artifact.schema, scorer.artifact.drift
    same = drift.psi(drift.count(checked_table(schema, make_frame(2000, seed=7))))
    moved = make_frame(2000, seed=7).with_columns(pl.col("amount") + 60)
    after = drift.psi(drift.count(checked_table(schema, moved)))
    assert same.max() < 0.15
    assert after[schema.names.index("amount")] > 0.5


def test_a_constant_has_not_drifted_as_float32():
    schema = Schema((Column("gain", Kind.NUMERIC), Column("third", Kind.NUMERIC)))
    table = table_of(schema, [{"gain": 0.7, "third": 1 / 3}] * 500)
    reference = fit_drift(table)
    single = Table(schema, table.numbers.astype(np.float32).astype(float), table.codes, ())
    assert reference.psi(reference.count(single)).max() == 0
    assert reference.psi(reference.count(replace(single, numbers=single.numbers - 0.1))).min() > 1


def mixed(n: int, seed: int) -> Table:
    """Records of a source that never changes: numbers, a number that is mostly 0, categories."""
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame(
        {
            "number": rng.normal(size=n),
            "seldom": rng.exponential(size=n) * (rng.random(n) < 0.3),
            "place": rng.choice(list("abcdefghijklmnop"), n),
            "card": rng.random(n) < 0.2,
        }
    )
    columns = (
        Column("number", Kind.NUMERIC),
        Column("seldom", Kind.NUMERIC),
        Column("place", Kind.CATEGORICAL, categories=tuple("abcdefghijklmno")),
        Column("card", Kind.BOOLEAN),
    )
    return checked_table(Schema(columns), frame)


@pytest.mark.parametrize("records", [30, 100, 2000])
def test_a_source_that_stays_has_seldom_changed(records: int):
    named = sum(
        len(fit_drift(mixed(400, i)).changed(mixed(records, 1000 + i))) for i in range(200)
    )
    assert named <= 0.01 * 200 * 4


def test_what_has_changed_most_comes_first():
    before, after = mixed(2000, 0), mixed(200, 1)
    assert fit_drift(before).changed(after) == ()
    numbers, codes = after.numbers.copy(), after.codes.copy()
    numbers[:, 0] += 5  # beyond all before
    codes[:100, 0] = missing_code(after.schema.discrete[0]) - 1  # places that nobody knew
    moved = Table(after.schema, numbers, codes, after.texts)
    found = fit_drift(before).changed(moved)
    assert [each.column for each in found] == ["number", "place"]
    psi = fit_drift(before).psi(fit_drift(before).count(moved))
    assert [each.psi for each in found] == [psi[0], psi[2]]
