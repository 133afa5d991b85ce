"""A record from the future, by a clock that is wrong, does not make its entity late until then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import Live, serving
from tests.pumps import Records, W
from tests.service.series.redis_server import needs_redis, redis_server
from tests.service.series.test_stateless import assert_like, results
from vaewatch.scoring.scorer import Scorer

FAR = "2999-01-01T00:00:00"


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
def live(request: pytest.FixtureRequest, series_path: Path, tmp_path: Path) -> Iterator[Live]:
    """A service that sets apart what is more than a day ahead of its clock."""
    if request.param == "memory":
        with serving(series_path, "--history-ahead", "86400") as alone:
            yield alone
        return
    with redis_server(tmp_path) as server:
        words = ("--history", server.url, "--workers", "2", "--history-ahead", "86400")
        with serving(series_path, *words) as several:
            yield several


def test_it_is_set_apart_and_the_others_are_judged_as_if_it_had_not_come(
    live: Live, series_scorer: Scorer, records: Records
):
    far = [{**row, "ts": FAR} for row in records[:3]]
    assert [one["history"] for one in results(live, far)] == ["ahead"] * 3
    got = results(live, [*records[:30], far[0], *records[30:40], far[1]])
    assert [got[30]["history"], got[41]["history"]] == ["ahead", "ahead"]
    assert got[30]["score"] is got[30]["is_anomaly"] is None
    assert_like([*got[:30], *got[31:41]], series_scorer.score(records)[:40])
    last = results(live, [*records[40:42], far[0], *records[42:43]], "?judge=last")
    assert [one["history"] for one in last] == ["full", "full", "ahead", "full"]
    assert live.value("vaewatch_history_records_total", history="ahead") == 6
    assert live.value("vaewatch_history_records_total", history="late") == 0


def test_without_the_option_any_time_counts(series_path: Path, records: Records):
    with serving(series_path) as live:
        assert results(live, [{**records[0], "ts": FAR}])[0]["history"] == "warming_up"
        assert results(live, records[: 3 * W])[0]["history"] == "late"
