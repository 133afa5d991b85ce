"""What one process keeps for incidents while others keep the store busy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select

from tests.conftest import make_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of
from vaewatch.service.incidents import keeper as module
from vaewatch.service.incidents.keeper import TRIES, Keeper
from vaewatch.service.incidents.stream import Stream
from vaewatch.service.settings import Settings
from vaewatch.service.store import database
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import Place
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


def test_alarms_wait_however_long_others_keep_the_store_busy(
    artifact_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(module, "BREATH", 0.0)
    url = f"sqlite:///{tmp_path}/it.sqlite"
    series = IncidentSeries(CollectorRegistry(), "vaewatch")
    keeper, other = Keeper.of(Settings(artifact_path, store=url), series), Database(Place.of(url))
    keeper.step()
    scorer = Scorer.load(artifact_path)
    keeper.arrivals.add(Stream.of(scorer.artifact), judged_of(scorer, 3))
    with other.writing(alone=True):
        for _ in range(TRIES + 2):
            keeper.step()
            assert series.waiting._value.get() == 3
    assert series.away._value.get() == 0
    keeper.step()
    assert series.waiting._value.get() == series.dropped._value.get() == 0
    with other.reading() as connection:
        assert connection.execute(select(incidents.c.alarms)).scalars().all() == [3]
    keeper.close()
    other.close()
