"""Verdicts: one decision, reasons by column, the same score on every path."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_frame
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.expected.candidates import Candidates
from vaewatch.scoring.expected.conditional import Conditional
from vaewatch.scoring.features.feature import places_of_columns
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.network import TILE
from vaewatch.scoring.schema import Kind
from vaewatch.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def fresh() -> pl.DataFrame:
    return make_frame(300, seed=9)


def test_normals_keep_to_the_budget_and_nonsense_alarms(scorer: Scorer, fresh: pl.DataFrame):
    normal = scorer.score_records(fresh.to_dicts())
    assert normal.is_anomaly.mean() < 0.12  # alpha 0.05, 300 records, 400 to calibrate
    odd = fresh.with_columns(pl.col("amount") * -1)
    assert scorer.score_records(odd.to_dicts()).is_anomaly.mean() > 0.9


def test_a_verdict_is_p_value_at_most_alpha(scorer: Scorer, fresh: pl.DataFrame):
    for alpha in (0.01, 0.05, 0.2):
        verdicts = scorer.score_records(fresh.to_dicts(), alpha=alpha)
        np.testing.assert_array_equal(verdicts.is_anomaly, verdicts.p_value <= alpha)


def test_an_alpha_that_the_calibration_cannot_support_is_refused(scorer: Scorer):
    with pytest.raises(
        CalibrationError, match="takes at least 9,999 calibration records, got 100"
    ):
        scorer.score_records([], alpha=1e-4)


@pytest.mark.parametrize(
    ("column", "value"), [("country", "XX"), ("currency", "USD"), ("amount", None), ("version", 4)]
)
def test_an_unseen_value_is_the_first_reason(
    scorer: Scorer, fresh: pl.DataFrame, column: str, value: Any
):
    rows = fresh.to_dicts()
    before = scorer.score_records(rows).score
    after = scorer.score_records([{**row, column: value} for row in rows], explain=1)
    assert np.all(after.score > before)
    first = [reasons[0] for reasons in after.reasons]
    assert np.mean([reason.column == column for reason in first]) > 0.98
    assert first[0].observed == value


def candidates_of(scorer: Scorer) -> Candidates:
    vectorizer, precision = scorer.artifact.vectorizer, scorer.artifact.precision
    conditional = Conditional.of(precision, places_of_columns(vectorizer.features).values())
    return Candidates(vectorizer, precision, conditional, scorer.artifact.rule.unseen)


def test_the_errors_pull_at_a_column_as_a_slow_derivation_says(
    scorer: Scorer, fresh: pl.DataFrame
):
    """By the dense Sigma^-1, and a loop over columns."""
    artifact = scorer.artifact
    record = {**fresh.row(0, named=True), "country": "XX"}
    features = artifact.vectorizer.transform(
        checked_table(artifact.schema, pl.DataFrame([record]))
    )
    whitened = scorer.network.whitened(features.values)
    candidates = candidates_of(scorer)
    got = candidates.pulls(features, whitened)
    root = artifact.precision.whiten(np.eye(features.values.shape[1]))
    residuals = [np.linalg.solve(root.T, member.astype(float)) for member in whitened[0]]
    r, inverse = np.mean(residuals, axis=0), root @ root.T
    want = np.zeros(len(artifact.schema.columns))
    for column in set(artifact.vectorizer.column_of):
        own = artifact.vectorizer.column_of == column
        best = r.copy()  # where the derivative by the column's own errors is 0
        best[own] = -np.linalg.solve(inverse[own][:, own], inverse[own][:, ~own] @ r[~own])
        want[column] = 0.5 * (r @ inverse @ r - best @ inverse @ best)
    want[artifact.schema.names.index("country")] += artifact.rule.unseen
    np.testing.assert_allclose(got[0], want, rtol=1e-3, atol=1e-3)


def test_numbers_and_categories_take_turns(scorer: Scorer, fresh: pl.DataFrame):
    artifact = scorer.artifact
    features = artifact.vectorizer.transform(checked_table(artifact.schema, fresh))
    whitened = scorer.network.whitened(features.values)
    candidates = candidates_of(scorer)
    numeric = np.array([column.kind is Kind.NUMERIC for column in artifact.schema.columns])
    picked = candidates.pick(features, whitened, 6)
    assert np.all(numeric[picked].sum(1) == 3)
    every = candidates.pick(features, whitened, len(numeric))
    np.testing.assert_array_equal(np.sort(every, axis=1), [np.arange(len(numeric))] * len(fresh))


def test_many_records_score_as_few(scorer: Scorer, fresh: pl.DataFrame):
    """More than a tile of the network."""
    table = checked_table(scorer.artifact.schema, fresh)
    rows = np.random.default_rng(0).integers(0, len(fresh), 2 * TILE + 7)
    few, many = (scorer.score_table(t, explain=2) for t in (table, table.take(rows)))
    np.testing.assert_allclose(many.score, few.score[rows], rtol=1e-5)
    assert [[r.column for r in reasons] for reasons in many.reasons] == [
        [r.column for r in few.reasons[row]] for row in rows
    ]
    assert many.parts is not None and len(many.parts) == len(rows)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_score_does_not_depend_on_the_batch(
    scorer: Scorer, fresh: pl.DataFrame, data: st.DataObject
):
    rows = data.draw(st.lists(st.integers(0, len(fresh) - 1), min_size=1, max_size=40))
    table = checked_table(scorer.artifact.schema, fresh)
    together = scorer.score_table(table).score[rows]
    apart = scorer.score_table(table.take(np.array(rows))).score
    np.testing.assert_allclose(apart, together, rtol=1e-5)


def test_an_unseen_value_changes_no_bit_of_the_others_scores(scorer: Scorer, fresh: pl.DataFrame):
    rows = fresh.to_dicts()[:20]
    with_event = [*rows[:-1], {**rows[-1], "country": "XX"}]
    want, got = (scorer.score_records(records).score[:-1] for records in (rows, with_event))
    np.testing.assert_array_equal(got, want)


def test_a_frame_and_its_records_score_the_same(scorer: Scorer, fresh: pl.DataFrame):
    as_text = fresh.with_columns(pl.all().cast(pl.String))
    for frame in (fresh, as_text, fresh.select(reversed(fresh.columns))):
        table = checked_table(scorer.artifact.schema, frame)
        np.testing.assert_allclose(
            scorer.score_table(table).score,
            scorer.score_records(fresh.to_dicts()).score,
            rtol=1e-5,
        )


def test_a_list_and_a_frame_of_either_library_score_the_same(scorer: Scorer, fresh: pl.DataFrame):
    want = scorer.score_records(fresh.to_dicts()).score
    for data in (fresh.to_dicts(), fresh, fresh.to_pandas()):
        np.testing.assert_allclose(scorer.score(data).score, want, rtol=1e-5)


def test_reasons_come_with_alarms_only_unless_asked_for(scorer: Scorer, fresh: pl.DataFrame):
    verdicts = scorer.score_records(fresh.to_dicts())
    assert [bool(reasons) for reasons in verdicts.reasons] == verdicts.is_anomaly.tolist()
    asked = [len(reasons) for reasons in scorer.score_records(fresh.to_dicts(), explain=2).reasons]
    assert max(asked) == 2 and np.mean(asked) > 1  # fewer where a record is as expected
    assert not any(scorer.score_records(fresh.to_dicts(), explain=0).reasons)


def test_a_reason_reads_as_a_sentence(scorer: Scorer, fresh: pl.DataFrame):
    verdict = scorer.score_records([{**fresh.row(0, named=True), "country": "XX"}])[0]
    assert str(verdict.reasons[0]).startswith("country is XX, expected ")


def test_no_records_give_no_verdicts(scorer: Scorer):
    assert list(scorer.score_records([])) == []
