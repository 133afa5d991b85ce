"""A number that stands still for longer than ever is unseen, however the records come in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scoring.series.made import SIZE, SMALL, telemetry
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.history import Arrivals, History
from vaewatch.scoring.series.reasons import StillReason
from vaewatch.scoring.series.window import Still, Window, run_lengths
from vaewatch.service.client.verdicts import _reason
from vaewatch.training.train import train

STEP, GAP = 10, 35
few_values = st.lists(st.sampled_from([0.0, 0.5, 1.5]), min_size=1, max_size=40)


@settings(deadline=None)
@given(few_values)
def test_a_run_is_counted_as_by_hand(column: list[float]):
    want = []
    for before, value in zip([None, *column], column, strict=False):
        want.append(want[-1] + 1 if value == before and value != 0 else 1)
    values = np.array(column, np.float32)[:, None]
    assert run_lengths(values)[:, 0].tolist() == want


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.5, 1.5])), max_size=60),
    st.lists(st.integers(0, 60), max_size=6),
    st.integers(3, 6),
)
def test_any_chunks_mark_the_same_records(
    records: list[tuple[str, float]], cuts: list[int], least: int
):
    """By hand: whether the last records of the entity all hold the value."""
    window = Window(6, GAP, STEP, still=(Still(column=1, feature=0, records=least),))
    names, values = [name for name, _ in records], [value for _, value in records]
    marks = set()
    for row, name in enumerate(names):
        own = [values[k] for k in range(row + 1) if names[k] == name][-least:]
        if len(own) == least and len(set(own)) == 1:
            marks.add(row)
    n = len(records)
    for bounds in ([0, n], sorted({0, n, *(c for c in cuts if c < n)}), list(range(n + 1))):
        history, found = History(window), set[int]()
        moments = {"a": 0, "b": 0}
        for start, end in zip(bounds, bounds[1:], strict=False):
            at = []
            for name in names[start:end]:
                moments[name] += STEP
                at.append(moments[name])
            taken = history.add(
                Arrivals(
                    names[start:end],
                    np.array(at, np.int64),
                    np.array(values[start:end], np.float32)[:, None],
                    np.zeros((end - start, 2), bool),
                )
            )
            for run in taken.runs:
                assert not run.unseen[:, 0].any()
                newest = run.newest_unseen() > 0
                found |= {start + row for row in run.rows[newest].tolist()}
        full = {row for row in marks if names[: row + 1].count(names[row]) >= window.size}
        assert found == full


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    out: Path = tmp_path_factory.mktemp("still") / "machines"
    return train(telemetry(300), out, alpha=0.05, **{**SMALL, "window": 16})


def test_it_is_learned_from_the_longest_run(scorer: Scorer):
    window = scorer.artifact.window
    assert window is not None
    names = scorer.artifact.schema.names
    longest = {
        name: max(
            int(run_lengths(own[name].cast(pl.Float32).to_numpy()[:, None]).max())
            for _, own in telemetry(300).group_by("machine")
        )
        for name in ("pressure", "flow")
    }
    assert {names[s.column]: s.records for s in window.still} == {
        name: 2 * records + 1 for name, records in longest.items()
    }


def stuck(rows: slice, value: float | None) -> pl.DataFrame:
    """New telemetry of one machine, with a flow that stays for some of the records."""
    frame = telemetry(60, 1, seed=7)
    flow = frame["flow"].to_list()
    flow[rows] = [value] * len(flow[rows])
    return frame.with_columns(flow=pl.Series(flow, dtype=pl.Float64))


def test_a_number_that_stands_still_is_a_reason_in_words(scorer: Scorer):
    verdicts = scorer.score(stuck(slice(30, 40), 0.123))
    window = scorer.artifact.window
    assert window is not None
    least = next(
        s.records for s in window.still if scorer.artifact.schema.names[s.column] == "flow"
    )
    assert verdicts.is_anomaly[30 + least - 1 : 40].all()
    reason = verdicts.reasons[39][0]
    assert isinstance(reason, StillReason) and reason.column == "flow"
    assert str(reason).startswith("flow stays 0.123 for 10 records, expected ")
    assert _reason(asdict(reason)) == reason


def test_values_that_are_missing_do_not_stand_still(scorer: Scorer):
    verdicts = scorer.score(stuck(slice(30, 40), None))
    assert not any(isinstance(r, StillReason) for own in verdicts.reasons for r in own)


def test_a_short_fit_tells_nothing_of_it(tmp_path: Path):
    short = train(telemetry(100), tmp_path / "a", alpha=0.05, **SMALL)
    assert short.artifact.window is not None and short.artifact.window.still == ()
    assert short.artifact.window.size == SIZE
