"""Histories in a real Redis that workers share: slow, full, killed, restarted."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.conftest import run
from tests.live import Live, serving, until, wait_ready
from tests.pumps import Records, W, changed, pumps, trained
from tests.service.series.redis_server import RedisServer, needs_redis, redis_server
from tests.service.series.test_stateless import assert_like, results
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.history import NEVER, Arrivals, History
from vaewatch.scoring.series.kept import unpack_episode
from vaewatch.scoring.series.lasting import COMPARED
from vaewatch.scoring.series.window import Pace, Window
from vaewatch.scoring.table import table_of
from vaewatch.service.model.model import load_model
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.options import Options
from vaewatch.service.series.memory import Memory
from vaewatch.service.series.script import moment_of_text, text_of_moment
from vaewatch.service.series.shared import Shared, past_of
from vaewatch.service.settings import Settings

pytestmark = needs_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def two_workers(
    series_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Live, RedisServer]]:
    """A service of two workers and its Redis, which several tests share."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        with serving(series_path, "--history", server.url, "--workers", "2") as live:
            yield live, server


@pytest.fixture
def workers(two_workers: tuple[Live, RedisServer]) -> tuple[Live, RedisServer]:
    """That service, which knows no entity yet."""
    with two_workers[1].client as client:
        client.flushall()
    return two_workers


def status_of(live: Live, records: Records) -> int:
    answer = live.post("/v1/score", json={"records": records})
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "1"
        assert "the histories of entities are away" in answer.json()["detail"]
    return answer.status_code


def test_workers_share_histories(
    series_scorer: Scorer, records: Records, workers: tuple[Live, RedisServer]
):
    live, _ = workers
    found = [result for row in records[:45] for result in results(live, [row])]
    found += results(live, records[45:], "?explain=3")
    assert_like(found[:45], series_scorer.score(records)[:45])
    assert_like(found[45:], series_scorer.score(records, explain=3)[45:])
    again, late = results(live, [records[-1]]), results(live, [records[0]])
    assert [r[0]["history"] for r in (again, late)] == ["repeated", "late"]
    until(lambda: live.value("vaewatch_history_entities") == 3)
    assert live.value("vaewatch_history_away") == 0
    assert live.get("/v1/model").json()["history"]["kept"] == "redis"


def test_workers_share_what_lasts(series_scorer: Scorer, workers: tuple[Live, RedisServer]):
    rows, (live, server) = changed(150), workers
    found = [result for row in rows for result in results(live, [row])]
    assert_like(found, series_scorer.score(rows))
    assert [f["history"] for f in found].count("lasting") > 30
    with server.client as client:
        [key] = client.keys("*:alarms:m0")
        kept = unpack_episode(client.get(key))
        assert kept.alarms > len(kept.moments) == COMPARED * W
        assert 0 < client.ttl(key) <= 86_400


def test_records_with_irregular_steps_have_the_same_verdicts(
    tmp_path: Path, records: Records, server: RedisServer
):
    frame = pumps(500)
    rng = np.random.default_rng(0)
    late = [
        f"{text}.{micro:06d}"
        for text, micro in zip(
            frame["ts"].to_list(), rng.integers(0, 10**6, len(frame)).tolist(), strict=True
        )
    ]
    keep = rng.random(len(frame)) < 0.7
    path = trained(tmp_path, frame=frame.with_columns(ts=pl.Series(late)).filter(keep))
    scorer = Scorer.load(path)
    assert scorer.artifact.window is not None and scorer.artifact.window.pace is not None
    rows = [row for i, row in enumerate(pumps(60, seed=1, first=600).to_dicts()) if i % 7 != 2]
    with serving(path, "--history", server.url) as live:
        found = [result for row in rows for result in results(live, [row])]
    assert_like(found, scorer.score(rows))


def test_workers_that_post_one_entity_at_a_time_lose_and_double_nothing(
    workers: tuple[Live, RedisServer],
):
    rows, (live, server) = pumps(200, seed=5, machines=1, first=700).to_dicts(), workers
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: results(live, [row])[0]["history"], rows + rows))
    counts = {word: found.count(word) for word in set(found)}
    taken = counts.get("full", 0) + counts.get("lasting", 0) + counts["warming_up"]
    assert counts["warming_up"] == W - 1
    assert taken + counts.get("late", 0) + counts.get("repeated", 0) == 400
    assert taken <= 200
    with server.client as client:
        [key] = client.keys("*:of:m0")
        moments = [record[20:40] for record in client.lrange(key, 0, -1)]
        before = [record[:20] for record in client.lrange(key, 0, -1)]
    assert len(moments) == W - 1 and moments == sorted(set(moments))
    assert before[1:] == moments[:-1]


def test_a_killed_worker_loses_no_history(
    series_scorer: Scorer, records: Records, workers: tuple[Live, RedisServer]
):
    half, (live, _) = len(records) // 2, workers
    found = results(live, records[:half])
    children = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children")
    for pid in map(int, children.read_text().split()):
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
    until(lambda: live.said.count("died with") == 2)
    wait_ready(live)
    found += results(live, records[half:])
    assert_like(found, series_scorer.score(records))


def test_away_is_503_and_not_ready_until_it_is_back(
    series_path: Path, records: Records, server: RedisServer
):
    with serving(series_path, "--history", server.url) as live:
        results(live, records)
        server.kill()
        assert [status_of(live, records[:1]) for _ in range(3)] == [503] * 3
        assert live.get("/readyz").status_code == 503
        assert live.get("/v2/health/ready").status_code == 503
        assert live.get("/livez").status_code == 200
        until(lambda: live.value("vaewatch_history_away") == 1)
        server.start()
        wait_ready(live)
        assert results(live, records[:1])[0]["history"] == "warming_up"  # it kept nothing
        assert live.value("vaewatch_history_away") in (0, 1)
        until(lambda: "the histories are away, Redis fails" in live.said)
        until(lambda: "the histories are back" in live.said)
        assert "Traceback" not in live.said


def test_a_service_starts_while_redis_is_away(series_path: Path, server: RedisServer):
    server.kill()
    env = {"VAEWATCH_HISTORY": server.url.replace("127", "user:secret@127")}
    with serving(series_path, "--history-away", "warm-up", env=env) as live:
        until(lambda: "the histories are away" in live.said)
        assert "secret" not in live.said


def test_where_it_may_warm_up_a_request_is_judged_by_itself(
    series_path: Path, series_scorer: Scorer, records: Records, server: RedisServer
):
    third = len(records) // 3
    options = ("--history", server.url, "--history-away", "warm-up")
    with serving(series_path, *options) as live:
        results(live, records[:third])
        with server.client as client:
            held = client.keys("*:of:*")
        assert len(held) == 3
        with paused(server, 3):
            found = results(live, records[third : 2 * third])
            assert_like(found, series_scorer.score(records[third : 2 * third]))
            assert live.get("/readyz").status_code == 200
        until(lambda: live.said.count("the histories are back") == 1)
        # what Redis held lacks the records between: a window over these would be a wrong one
        found = results(live, records[2 * third :])
        assert_like(found, series_scorer.score(records[2 * third :]))


class paused:
    """Redis answers nobody for so many seconds."""

    def __init__(self, server: RedisServer, seconds: float) -> None:
        self._thread = threading.Thread(target=self._pause, args=(server, seconds))

    @staticmethod
    def _pause(server: RedisServer, seconds: float) -> None:
        with server.client as client:
            client.execute_command("DEBUG", "SLEEP", seconds)

    @property
    def lasts(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> paused:
        self._thread.start()
        time.sleep(0.2)
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join()


def test_a_slow_redis_holds_no_request_up_for_long(
    series_path: Path, records: Records, server: RedisServer
):
    with serving(series_path, "--history", server.url) as live:
        results(live, records[:3])
        with paused(server, 4) as pause:
            assert [status_of(live, records[3:6]) for _ in range(9)] == [503] * 9
            assert pause.lasts  # they did not wait for its end
        wait_ready(live)
        # the first try may have been taken in although its answer was lost
        word = results(live, records[3:6])[0]["history"]
        assert word in ("repeated", "warming_up")


def test_a_full_redis_is_away(series_path: Path, records: Records, server: RedisServer):
    with serving(series_path, "--history", server.url) as live, server.client as client:
        results(live, records[:3])
        client.config_set("maxmemory", "100kb")
        assert status_of(live, records[3:6]) == 503
        assert live.get("/readyz").status_code == 503
        client.config_set("maxmemory", "0")
        wait_ready(live)
        assert results(live, records[3:6])[0]["history"] == "warming_up"


def test_redis_keeps_so_many_entities_for_so_long(
    series_path: Path, records: Records, server: RedisServer
):
    options = ("--history", server.url, "--max-entities", "2", "--history-ttl", "100")
    with serving(series_path, *options) as live, server.client as client:
        found = [results(live, [row])[0] for row in records]
        assert {result["history"] for result in found} == {"warming_up"}
        assert live.value("vaewatch_history_entities_dropped_total", cause="evicted") == 88
        keys = client.keys("vaewatch:{*")
        assert len(keys) == 3  # two entities, and what lists them
        assert all(0 < client.ttl(key) <= 100 for key in keys)


@pytest.mark.parametrize("most", [1, 63, 64, 100])
def test_the_same_entities_leave_as_from_memory(series_path: Path, server: RedisServer, most: int):
    """More than one script takes; whether a repeated record is known shows who has left."""
    model = load_model(series_path, Settings(series_path))
    registry = Registry(series_path, model)
    memory = Memory(registry, most)
    shared = Shared(registry, server.url, most, ttl=100, warm_up=False)
    options, rng = Options(None, 0, False), np.random.default_rng(most)
    [row] = pumps(1, machines=1).to_dicts()
    for _ in range(20):
        names = rng.integers(0, 150, int(rng.integers(1, 200))).tolist()
        rows = [{**row, "machine": f"m{name}"} for name in names]
        table = table_of(model.scorer.artifact.schema, rows)
        found = shared.answer(model, options, table, [len(rows)])
        wanted = memory.answer(model, options, table, [len(rows)])
        assert found.verdicts.history == wanted.verdicts.history
        assert found.seen == wanted.seen
    shared.close()


def test_what_another_program_wrote_there_is_not_used(
    series_path: Path, records: Records, server: RedisServer
):
    with serving(series_path, "--history", server.url) as live, server.client as client:
        results(live, records)
        for key in client.keys("*:of:*"):
            length = client.llen(key)
            client.delete(key)
            client.rpush(key, *[b"nonsense"] * length)
        again = pumps(1, first=700).to_dicts()
        assert {result["history"] for result in results(live, again)} == {"warming_up"}
        until(lambda: "is not as this release writes it" in live.said)


def test_a_shadow_with_a_window_takes_the_memory(series_path: Path, server: RedisServer):
    shadow = shutil.copytree(series_path, server.folder / "shadow")
    done = run("serve", series_path, "--shadow", shadow, "--history", server.url, "--port", "0")
    assert done.returncode == 4
    assert "must be served with --history memory" in done.stderr


@pytest.mark.parametrize("moment", [0, 1, -1, 2**53, -(2**62), 1_767_225_600_000_000])
def test_moments_are_stored_in_their_order(moment: int):
    assert moment_of_text(text_of_moment(moment).encode()) == moment
    assert text_of_moment(moment) < text_of_moment(moment + 1)
    assert len(text_of_moment(moment)) == 20


def test_what_is_stored_is_the_history_itself():
    """Against the history that takes the same records in, with gaps and irregular steps."""
    rng = np.random.default_rng(0)
    window = Window(5, 100, 10, Pace(0.3, 0.8))
    for _ in range(200):
        n = int(rng.integers(1, 12))
        moments = np.cumsum(rng.choice([1, 10, 30, 101, 500], n)).astype(np.int64)
        values = rng.normal(size=(n, 3)).astype(np.float32)
        unseen = rng.random((n, 9)) < 0.3
        history = History(window)
        history.add(Arrivals(None, moments, values, unseen))
        before = [NEVER, *moments[:-1].tolist()]
        stored = [
            (b"0" * 20 if b == NEVER else text_of_moment(b).encode())
            + text_of_moment(m).encode()
            + v.tobytes()
            + np.packbits(u).tobytes()
            for b, m, v, u in zip(before, moments.tolist(), values, unseen, strict=True)
        ]
        past = past_of(stored[-4:], window, 3, 9)
        want = history.pasts[""]
        assert past is not None and past.last == want.last
        np.testing.assert_array_equal(past.values, want.values)
        np.testing.assert_array_equal(past.unseen, want.unseen)
