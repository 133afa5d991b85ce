"""Each record is posted once: the service keeps those before it, of so many entities."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import run
from tests.live import Live, serving, until
from tests.pumps import Records, W, changed, pumps, trained
from tests.service.series.test_stateless import assert_like, results
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.model.model import Model, load_model
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.jobs import Job, Outcome
from vaewatch.service.score.lane import LARGE, Lane
from vaewatch.service.score.options import Options
from vaewatch.service.series.file import EVERY_SECONDS, HistoryFile
from vaewatch.service.series.memory import Memory, most_bytes
from vaewatch.service.settings import Settings


def reloaded(path: Path, **changed: Any) -> None:
    """Give an artifact another version, or other members of its manifest, in place."""
    manifest = path / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **changed}))


@pytest.fixture
def own_path(series_path: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(series_path, tmp_path / "own")


def test_one_record_a_request_gets_the_verdicts_of_the_whole(
    series_path: Path, series_scorer: Scorer, records: Records
):
    with serving(series_path) as live:
        found = [result for row in records for result in results(live, [row])]
        assert_like(found, series_scorer.score(records))
        assert live.value("vaewatch_history_entities") == 3
        assert live.value("vaewatch_records_total") == len(records) - 3 * (W - 1)
        again, late = results(live, [records[-1]]), results(live, [records[0]])
        assert [r[0]["history"] for r in (again, late)] == ["repeated", "late"]
        assert live.value("vaewatch_history_records_total", history="late") == 1
        assert live.value("vaewatch_history_records_total", history="repeated") == 1
        assert live.value("vaewatch_records_total") == len(records) - 3 * (W - 1)
        assert live.get("/v1/model").json()["history"]["kept"] == "memory"
        assert "at most 7 records of each of at most 10,000 entities, about" in live.said


def test_any_parts_of_a_stream_give_the_verdicts_of_the_whole(
    series_path: Path, series_scorer: Scorer
):
    rows = pumps(250, seed=3, first=700).to_dicts()
    cuts = [0, 1, 2, 40, 41, 400, 402, 403, 749, 750]  # small and large ones
    with serving(series_path) as live:
        found = []
        for number, (start, end) in enumerate(zip(cuts, cuts[1:], strict=False)):
            query = "?alpha=0.05" if number % 2 else ""
            found += results(live, rows[start:end], query)
    assert_like(found, series_scorer.score(rows))


def laned(model: Model, most: int = 100) -> Lane:
    return Lane(Memory(Registry(model.path, model), most), lambda *batch: None)


def test_large_requests_are_not_overtaken(series_path: Path, series_scorer: Scorer):
    """They go to a thread; a small one that comes after, with other options, waits for them."""
    rows = pumps(2 * LARGE // 3 + 40, seed=4, first=700).to_dicts()
    model = load_model(series_path, Settings(series_path))
    cuts = [0, 3, LARGE + 9, LARGE + 12, LARGE + 15, 2 * LARGE + 50, len(rows)]
    got: list[Outcome] = []

    async def ask() -> None:
        lane = laned(model)
        parts = list(zip(cuts, cuts[1:], strict=False))
        for number, (start, end) in enumerate(parts):
            read = model.reader.rows(json.dumps({"records": rows[start:end]}).encode())
            assert read is not None
            lane.submit(model, Options(explain=number % 2 or None), Job("r", read, got.append))
        while len(got) < len(parts):
            await asyncio.sleep(0.01)
        lane.close()

    asyncio.run(ask())
    scores = [result.score for part in got if isinstance(part, list) for result in part]
    want = series_scorer.score(rows).score
    np.testing.assert_allclose(np.array(scores, float), want, rtol=1e-5, atol=1e-5)


def test_a_batch_that_fails_fails_its_requests_and_no_others(series_path: Path, records: Records):
    model = load_model(series_path, Settings(series_path))
    read = model.reader.rows(json.dumps({"records": records[:3]}).encode())
    got: dict[str, Outcome] = {}

    async def ask() -> None:
        lane = laned(model)
        assert read is not None
        for name, options in (("bad", Options(alpha=1e-9)), ("good", Options())):
            lane.submit(model, options, Job(name, read, partial(got.__setitem__, name)))
        await lane.between(lambda: None)
        lane.close()

    asyncio.run(ask())
    assert isinstance(got["bad"], Exception) and isinstance(got["good"], list)


def test_the_least_recently_seen_entity_leaves(series_path: Path, records: Records):
    with serving(series_path, "--max-entities", "2") as live:
        found = [results(live, [row])[0] for row in records]
        assert {result["history"] for result in found} == {"warming_up"}  # all three in turn
        assert live.value("vaewatch_history_entities") == 2
        assert live.value("vaewatch_history_entities_dropped_total", cause="evicted") == 88


def test_bytes_are_as_stated(series_path: Path):
    model = load_model(series_path, Settings(series_path))
    memory = Memory(Registry(series_path, model), 3000)
    rows = pumps(W, machines=1).to_dicts()

    def fill(entity: int) -> None:
        table = model.reader.table(
            model.reader.rows(
                json.dumps({"records": [{**r, "machine": f"m{entity}"} for r in rows]}).encode()
            )
            or []
        )
        memory.answer(model, Options(), table, [W])

    fill(-1)
    tracemalloc.start()
    for entity in range(300):
        fill(entity)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 0.4 * most_bytes(model, 300) < used <= most_bytes(model, 300)


def test_what_a_person_tries_is_no_history(series_path: Path, records: Records):
    with serving(series_path) as live:
        answer = live.post("/console/score", json={"records": records})
        assert answer.json()["results"][-1]["history"] == "full"
        assert results(live, records[:1])[0]["history"] == "warming_up"
        assert live.value("vaewatch_history_entities") == 1


def test_a_restart_goes_on_with_the_file_and_warms_up_without(
    series_path: Path, series_scorer: Scorer, records: Records, tmp_path: Path
):
    options = ("--history-file", str(tmp_path / "histories"))
    half = len(records) // 2
    with serving(series_path, *options) as live:
        found = results(live, records[:half])
        assert "is not there yet" in live.said
        assert live.stop() == 0
    with serving(series_path, *options) as live:
        assert "3 entities, as they were" in live.said
        found += results(live, records[half:])
        assert live.value("vaewatch_history_entities") == 3
        live.process.send_signal(signal.SIGKILL)
        live.process.wait(10)
    assert_like(found, series_scorer.score(records))
    with serving(
        series_path, *options
    ) as live:  # as at the last clean end: it may be a minute old
        assert "3 entities, as they were" in live.said
    with serving(series_path) as live:
        assert results(live, records[-3:])[0]["history"] == "warming_up"
    assert [path.name for path in tmp_path.iterdir()] == ["histories"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def noise(path: Path) -> None:
    path.write_bytes(b"\x93" + bytes(range(256)))


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def test_what_lasts_is_known_after_a_restart(
    series_path: Path, series_scorer: Scorer, tmp_path: Path
):
    rows, file = changed(150), str(tmp_path / "history")
    found = []
    for part in (rows[:70], rows[70:]):
        with serving(series_path, "--history-file", file) as live:
            found += [result for row in part for result in results(live, [row])]
            if len(found) == len(rows):
                assert live.value("vaewatch_history_records_total", history="lasting") > 20
    assert_like(found, series_scorer.score(rows))
    assert [f["history"] for f in found].count("lasting") > 30


@pytest.fixture(scope="module")
def kept(series_path: Path, records: Records, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a service that has stopped after these records."""
    path = tmp_path_factory.mktemp("kept") / "histories"
    with serving(series_path, "--history-file", str(path)) as live:
        results(live, records)
        assert live.stop() == 0
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage", [cut, *(pytest.param(each, marks=pytest.mark.long) for each in (noise, emptied))]
)
def test_a_damaged_file_is_not_used_and_replaced(
    series_path: Path,
    records: Records,
    kept: bytes,
    tmp_path: Path,
    damage: Callable[[Path], None],
):
    path = tmp_path / "histories"
    path.write_bytes(kept)
    damage(path)
    with serving(series_path, "--history-file", str(path)) as live:
        assert "is not used, entities warm up again: a history must be as this" in live.said
        assert results(live, records[:1])[0]["history"] == "warming_up"
        assert live.stop() == 0
    with serving(series_path, "--history-file", str(path)) as live:
        assert "1 entities, as they were" in live.said


def test_the_file_of_another_artifact_is_refused_in_words(
    records: Records, kept: bytes, tmp_path: Path
):
    path, other = tmp_path / "histories", trained(tmp_path, seed=2, window=W + 1)
    path.write_bytes(kept)
    with serving(other, "--history-file", str(path)) as live:
        assert "a history must be that of the artifact, got another one's" in live.said
        assert results(live, records)[3 * (W - 1)]["history"] == "warming_up"


def test_a_recalibrated_artifact_goes_on_and_another_one_warms_up(
    own_path: Path, series_scorer: Scorer, records: Records, tmp_path: Path
):
    half = len(records) // 2
    with serving(own_path) as live:
        found = results(live, records[:half])
        reloaded(own_path, version="recalibrated")
        assert live.post("/v1/reload").json()["result"] == "loaded"
        found += results(live, records[half : half + 3])
        assert_like(found, series_scorer.score(records[: half + 3]))
        shutil.rmtree(own_path)
        shutil.copytree(trained(tmp_path, seed=2), own_path)
        assert live.post("/v1/reload").json()["result"] == "loaded"
        assert {r["history"] for r in results(live, records[half + 3 :][:3])} == {"warming_up"}
        assert live.value("vaewatch_history_entities_dropped_total", cause="forgotten") == 3
        until(lambda: "the histories of 3 entities are forgotten" in live.said)


def test_a_shadow_has_a_history_of_its_own(series_path: Path, own_path: Path, records: Records):
    reloaded(own_path, version="shadow")
    with serving(series_path, "--shadow", str(own_path)) as live:
        for start in range(0, len(records), 3):
            results(live, records[start : start + 3])
        judged = len(records) - 3 * (W - 1)
        until(lambda: live.value("vaewatch_shadow_records_total") == judged)
        assert live.value("vaewatch_shadow_disagreements_total") == 0
        assert live.value("vaewatch_shadow_records_total", verdict="anomaly") >= 3


def test_the_file_is_written_each_minute(series_path: Path, records: Records, tmp_path: Path):
    model = load_model(series_path, Settings(series_path))
    read = model.reader.rows(json.dumps({"records": records}).encode())
    got: list[Outcome] = []

    async def ask() -> None:
        lane = laned(model)
        assert isinstance(lane.histories, Memory) and read is not None
        file = HistoryFile(tmp_path / "histories", lane.histories)
        lane.submit(model, Options(), Job("r", read, got.append))
        await file.save_in_time(lane.between)
        assert not file.path.exists()
        file = HistoryFile(file.path, lane.histories, time.monotonic() - EVERY_SECONDS)
        await file.save_in_time(lane.between)
        lane.close()
        again = Memory(Registry(model.path, model), 2)
        HistoryFile(file.path, again).read(model)
        assert again.held == 2  # the newest of three

    asyncio.run(ask())
    assert isinstance(got[0], list)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--history", "memory", "--workers", "2"], "must have one worker, got 2"),
        (["--history", "disk"], "--history must be memory, stateless or redis://HOST"),
        (["--history", "redis://host:port"], "--history must be redis://HOST"),
        (["--history", "stateless", "--history-file", "x"], "must go with --history memory"),
        (["--workers", "2", "--history-file", "x"], "must go with --history memory"),
        (["--history-file", "no/such/folder/x"], "must be a file in a folder that can be written"),
        (["--history-file", "."], "File '.' is a directory"),
        (["--max-entities", "0"], "--max-entities"),
        (["--history", "stateless", "--history-ahead", "60"], "must go with --history memory or"),
        (["--history-ahead", "-1"], "--history-ahead"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    series_path: Path, tmp_path: Path, options: list[str], text: str
):
    done = run("serve", series_path, "--port", "0", *options, cwd=tmp_path)
    assert done.returncode == 2 and text in done.stderr
    assert "Traceback" not in done.stderr


def test_evidence_takes_windows_that_share_no_record(live_memory: Live):
    """Neighbouring windows are alike, and a test of exchangeability would call that a change."""
    rows = pumps(500, seed=9, first=2000).to_dicts()
    for start in range(0, len(rows), 300):
        results(live_memory, rows[start : start + 300])
    assert live_memory.value("vaewatch_exchangeability_log10") < 2
    for row in rows:
        row["ts"], row["pressure"] = f"2027{row['ts'][4:]}", row["flow"]
    for start in range(0, len(rows), 300):
        results(live_memory, rows[start : start + 300])
    assert live_memory.value("vaewatch_exchangeability_log10") > 2


@pytest.fixture
def live_memory(series_path: Path) -> Any:
    with serving(series_path) as live:
        yield live


def test_the_clock_may_step_back_and_entities_may_have_long_names(
    live_memory: Live, records: Records
):
    row = records[0]
    assert results(live_memory, [{**row, "machine": "x" * 1000}])[0]["history"] == "warming_up"
    long = live_memory.post("/v1/score", json={"records": [{**row, "machine": "x" * 10_000}]})
    assert long.status_code == 422 and "at most 1,000 characters" in long.text
    none = live_memory.post("/v1/score", json={"records": [{**row, "machine": None}]})
    assert none.status_code == 422 and "must name the record's entity" in none.text
    back = [{**row, "ts": "2026-03-01T00:00:10"}, {**row, "ts": "2026-03-01T00:00:00"}]
    assert [r["history"] for r in results(live_memory, back)] == ["warming_up", "late"]
    year = {**row, "ts": "2027-03-01T00:00:10"}
    assert results(live_memory, [year])[0]["history"] == "warming_up"
    assert live_memory.value("vaewatch_history_gaps_total") >= 1
