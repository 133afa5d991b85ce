"""What a worker delivers: alarms, and the records of groups that alarm anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import make_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.service.incidents import arrivals as module
from vaewatch.service.incidents.arrivals import LAZY, Arrivals
from vaewatch.service.incidents.stream import Stream
from vaewatch.service.watch.judged import Judged

START = 1_700_000_000_000_000
BUCKET = 300_000_000 // 16


@pytest.fixture(scope="module")
def segmented(segmented_path: Path) -> Scorer:
    return Scorer.load(segmented_path)


def judged(scorer: Scorer, countries: str, bucket: int, odd: int = 0) -> Judged:
    """Return records of these countries in one bucket, the first of which are odd."""
    names = {"N": "NL", "D": "DE", "F": "FR"}
    records = make_frame(len(countries), seed=3).to_dicts()
    for i, record in enumerate(records):
        record["country"] = names[countries[i]]
    table = table_of(scorer.artifact.schema, records)
    moments = np.full(len(records), START + bucket * BUCKET)
    table = replace(table, times=moments)
    verdicts = scorer.score_table(table)
    alarms = np.arange(len(records)) < odd
    ranks = verdicts.p_value, verdicts.severity
    return Judged(scorer.artifact, table, verdicts, alarms, *ranks, {0: "first"})


def test_only_groups_that_alarm_travel(segmented: Scorer):
    arrivals, stream = Arrivals(), Stream.of(segmented.artifact)
    arrivals.add(stream, judged(segmented, "NNDDD", 0))
    assert all(arrivals.batch() is None for _ in range(2 * LAZY))
    arrivals.add(stream, judged(segmented, "NND", 1, odd=1))
    batch = arrivals.batch()
    assert batch is not None
    assert [(alarm.group, alarm.record) for alarm in batch.alarms] == [("NL", "first")]
    first = START // BUCKET
    assert batch.records == {"NL": {first: 2, first + 1: 2}}
    assert all(arrivals.batch() is None for _ in range(2 * LAZY))


def test_records_follow_the_alarm_of_another_worker_once(segmented: Scorer):
    arrivals, stream = Arrivals(), Stream.of(segmented.artifact)
    arrivals.add(stream, judged(segmented, "NNDDD", 0))
    arrivals.add(stream, judged(segmented, "DDD", 3))
    arrivals.want("another scope", [("DE", START)])
    arrivals.want(stream.scope, [("DE", START)])
    batches = [batch for _ in range(2 * LAZY) if (batch := arrivals.batch()) is not None]
    assert [batch.records for batch in batches] == [{"DE": {START // BUCKET: 3}}]
    assert [batch.number for batch in batches] == [1]


def test_too_many_alarms_are_dropped_and_counted(
    segmented: Scorer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MOST_ALARMS", 5)
    monkeypatch.setattr(module, "IN_A_BATCH", 2)
    arrivals, stream = Arrivals(), Stream.of(segmented.artifact)
    for _ in range(3):
        arrivals.add(stream, judged(segmented, "NNN", 0, odd=3))
    assert (len(arrivals), arrivals.dropped) == (5, 4)
    sizes = [len(batch.alarms) for _ in range(3) if (batch := arrivals.batch()) is not None]
    assert sizes == [2, 2, 1]


def test_memory_is_bounded_however_many_buckets_there_are(
    segmented: Scorer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MOST_COUNTS", 50)
    arrivals, stream = Arrivals(), Stream.of(segmented.artifact)
    for bucket in range(200):
        arrivals.add(stream, judged(segmented, "NDF", bucket))
    assert len(arrivals._counts) <= 50 + 3


def test_another_merge_gap_begins_anew(segmented: Scorer):
    arrivals = Arrivals()
    one, other = Stream.of(segmented.artifact), Stream.of(segmented.artifact, 600_000_000)
    arrivals.add(one, judged(segmented, "NN", 0, odd=1))
    arrivals.add(other, judged(segmented, "NN", 0, odd=1))
    first, second = arrivals.batch(), arrivals.batch()
    assert first is not None and second is not None
    assert (first.stream, first.records) == (one, {})
    assert second.stream is other
    assert [sum(buckets.values()) for buckets in second.records.values()] == [2]


def far_ahead(arrivals: Arrivals, stream: Stream, scorer: Scorer) -> None:
    """Replay more of the records' own time in a moment than is ever kept in live traffic."""
    for bucket in range(20, 500, 20):
        arrivals.add(stream, judged(scorer, "FF", bucket))


def test_what_precedes_an_alarm_is_held_however_fast_time_runs(segmented: Scorer):
    arrivals, stream, first = Arrivals(), Stream.of(segmented.artifact), START // BUCKET
    arrivals.add(stream, judged(segmented, "NNDDD", 0))
    arrivals.add(stream, judged(segmented, "NN", 1, odd=1))
    far_ahead(arrivals, stream, segmented)
    arrivals.want(stream.scope, [("DE", START)])  # another worker's, said a moment later
    batches = [batch for _ in range(2 * LAZY) if (batch := arrivals.batch()) is not None]
    assert [batch.records for batch in batches] == [
        {"NL": {first: 2, first + 1: 2}},
        {"DE": {first: 3}},
    ]


def test_hours_without_the_store_cost_no_records_of_the_alarms_that_wait(
    segmented: Scorer, monkeypatch: pytest.MonkeyPatch
):
    arrivals, stream, first = Arrivals(), Stream.of(segmented.artifact), START // BUCKET
    monkeypatch.setattr(module, "time", lambda: START / 1e6)
    arrivals.add(stream, judged(segmented, "NND", 0, odd=1))
    monkeypatch.setattr(module, "time", lambda: START / 1e6 + 3 * 3600)
    far_ahead(arrivals, stream, segmented)
    batch = arrivals.batch()
    assert batch is not None and batch.records == {"NL": {first: 2}}
    arrivals.want(stream.scope, [("DE", START)])  # nobody knew in time
    assert all(arrivals.batch() is None for _ in range(2 * LAZY))
