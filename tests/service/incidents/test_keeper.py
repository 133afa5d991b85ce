"""What one process keeps for incidents while the store takes nothing."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from tests.conftest import make_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.service.incidents import keeper as module
from vaewatch.service.incidents.keeper import TRIES, IncidentKeeper
from vaewatch.service.incidents.stream import Stream
from vaewatch.service.settings import Settings
from vaewatch.service.store import database
from vaewatch.service.store.database import Database
from vaewatch.service.store.tables import incidents
from vaewatch.service.watch.families.incidents import IncidentSeries
from vaewatch.service.watch.judged import Judged


def judged_of(scorer: Scorer, n: int) -> Judged:
    """Records that all alarm."""
    records = [{**record, "amount": 1e6} for record in make_frame(n).to_dicts()]
    verdicts = scorer.score_records(records)
    table, every = table_of(scorer.artifact.schema, records), np.ones(n, bool)
    ranks = every, verdicts.p_value, verdicts.severity
    return Judged(scorer.artifact, table, verdicts, *ranks, {})


@pytest.fixture
def keeper(
    artifact_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[IncidentKeeper]:
    """One that has three alarms to deliver."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(module, "BREATH", 0.0)
    settings = Settings(artifact_path, store=f"sqlite:///{tmp_path}/it.sqlite")
    found = IncidentKeeper.of(settings, IncidentSeries(CollectorRegistry(), "vaewatch"))
    found.step()
    scorer = Scorer.load(artifact_path)
    found.arrivals.add(Stream.of(scorer.artifact), judged_of(scorer, 3))
    yield found
    found.close()


def waiting(keeper: IncidentKeeper) -> float:
    series = keeper.series
    assert series.dropped._value.get() == 0
    return series.waiting._value.get()


def kept(keeper: IncidentKeeper) -> list[int]:
    with keeper.database.reading() as connection:
        return list(connection.execute(select(incidents.c.alarms)).scalars())


def test_alarms_wait_however_long_others_keep_the_store_busy(keeper: IncidentKeeper):
    other = Database(keeper.place)
    with other.writing(alone=True):
        for _ in range(TRIES + 2):
            keeper.step()
            assert waiting(keeper) == 3
    assert keeper.series.away._value.get() == 0
    keeper.step()
    assert (waiting(keeper), kept(keeper)) == (0, [3])
    other.close()


@contextmanager
def full_disk(keeper: IncidentKeeper) -> Iterator[None]:
    """Let no file grow beyond what the store's log has now."""
    before, size = (
        resource.getrlimit(resource.RLIMIT_FSIZE),
        Path(f"{keeper.place.path}-wal").stat(),
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (size.st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_alarms_wait_while_the_disk_is_full(keeper: IncidentKeeper):
    """What is there can still be read: a store that answers is not one that takes a change."""
    with full_disk(keeper):
        for _ in range(TRIES + 2):
            keeper.step()
            assert waiting(keeper) == 3
            assert keeper.series.away._value.get() == 1
    keeper.step()
    assert (waiting(keeper), kept(keeper)) == (0, [3])


def test_alarms_that_wait_at_the_end_are_counted_and_said(
    keeper: IncidentKeeper, caplog: pytest.LogCaptureFixture
):
    with full_disk(keeper):
        keeper.step()
        assert waiting(keeper) == 3
        keeper.close()
    assert "3 alarms are in no incident: the store took none until the end" in caplog.text
    assert keeper.series.dropped._value.get() == 3
