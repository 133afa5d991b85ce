"""A full disk under what workers share, and workers that cannot live, against real services."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_frame, run
from tests.live import Live, serving, until
from tests.service.conftest import SmallDisk
from tests.service.test_service_life import new_workers, point, reloads_on_sighup, version_of
from vaewatch.service.http.workers import PAUSE
from vaewatch.service.watch.metrics import MULTIPROCESS

RECORDS = make_frame(30).drop("order").to_dicts()


def logged(live: Live) -> list[dict[str, Any]]:
    return [json.loads(line) for line in live.lines if line.startswith("{")]


def both_up(live: Live) -> list[int]:
    """Wait until both workers answer: one that starts later finds no room. Return their ids."""
    until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 2)
    return new_workers(live.process.pid, [])


def test_workers_live_on_and_count_where_their_disk_is_full(
    artifact_path: Path, small_disk: SmallDisk
):
    env = {"TMPDIR": str(small_disk.folder)}
    with serving(artifact_path, "--workers", "2", env=env) as live:
        until(lambda: live.value("vaewatch_exchangeability_log10") == 0)
        workers = both_up(live)
        small_disk.fill()
        answers = [live.get("/metrics").status_code for _ in range(10)]
        rejected = live.post("/v1/score", json={"records": [{"amount": "much"}]})
        assert answers == [200] * 10 and rejected.status_code == 422
        until(lambda: live.value("vaewatch_records_total", verdict="rejected") == 1)
        assert new_workers(live.process.pid, []) == workers
        assert "died" not in live.said


MANY_COLUMNS = """
import sys
from vaewatch.service.watch.metrics import Metrics

metrics = Metrics()
metrics.begin("orders", "1", ["before"])
print("ready", flush=True)
sys.stdin.readline()
try:
    metrics.begin("orders", "1", [f"column {i}" for i in range(10_000)])
except OSError as error:
    print(error.strerror, flush=True)
metrics.missing.labels("before").inc()
print(metrics.page().decode())
"""


def test_a_series_for_which_there_is_no_room_is_an_error_and_the_others_go_on(
    small_disk: SmallDisk,
):
    env = {**os.environ, MULTIPROCESS: str(small_disk.folder)}
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", MANY_COLUMNS]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, env=env, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        small_disk.fill()
        said, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert said.startswith("No space left on device\n")
    assert 'vaewatch_column_missing_total{column="before"} 1.0' in said


def test_records_are_counted_and_shown_while_workers_cannot_share_them(
    artifact_path: Path, small_disk: SmallDisk
):
    env = {"TMPDIR": str(small_disk.folder)}
    with serving(artifact_path, "--workers", "2", env=env) as live:
        (folder,) = small_disk.folder.iterdir()
        both_up(live)
        small_disk.fill()
        posted = 0
        for _ in range(1000):
            if live.said.count("workers cannot share what they count") == 2:  # one each
                break
            assert live.post("/v1/score", json={"records": RECORDS}).status_code == 200
            posted += len(RECORDS)
        until(lambda: live.value("vaewatch_records_total") == posted)
        assert not list(folder.glob("window-*.json"))
        small_disk.clear()
        until(lambda: live.said.count("workers share what they count again") == 2)
        assert len(list(folder.glob("window-*.json"))) == 2


def test_the_last_alarms_are_kept_though_workers_cannot_share_what_they_count(
    artifact_path: Path, tmp_path: Path
):
    shared, store = tmp_path / "shared", f"sqlite:///{tmp_path}/store.sqlite"
    shared.mkdir()
    options = ("--workers", "2", "--store", store)
    with serving(artifact_path, *options, env={"TMPDIR": str(shared)}) as live:
        (folder,) = shared.iterdir()
        for pid in both_up(live):
            (folder / f".window-{pid}").mkdir()  # in the place of a draft
        records = [{**record, "amount": 1e6} for record in RECORDS]
        assert live.post("/v1/score", json={"records": records}).status_code == 200
        assert live.stop() == 0
    with serving(artifact_path, "--store", store) as live:
        found = live.get("/v1/incidents").json()["incidents"]
        assert sum(one["alarms"] for one in found) == len(records)


def block(live: Live, shared: Path, draft: str) -> list[Path]:
    """Keep a file of the folder that workers share from being written by any of them."""
    (folder,) = shared.iterdir()
    blocks = [folder / f"{draft}-{pid}" for pid in new_workers(live.process.pid, [])]
    for path in blocks:
        path.mkdir()  # in the place of a draft
    return blocks


def versions(live: Live) -> set[str]:
    return {live.get("/v1/model").json()["version"] for _ in range(20)}


@pytest.fixture
def two(
    artifact_path: Path, newer_path: Path, tmp_path: Path
) -> Iterator[tuple[Live, Path, tuple[str, str]]]:
    """Two workers that answer from a link to one artifact, the folder with what they share, and
    the versions of this artifact and of their shadow.
    """
    shutil.copytree(artifact_path, tmp_path / "a")
    shutil.copytree(newer_path, tmp_path / "b")
    (tmp_path / "current").symlink_to(tmp_path / "a")
    (tmp_path / "shared").mkdir()
    options = ("--workers", "2", "--shadow", str(tmp_path / "b"))
    env = {"TMPDIR": str(tmp_path / "shared")}
    with serving(tmp_path / "current", *options, env=env) as live:
        both_up(live)
        found = version_of(tmp_path / "a"), version_of(tmp_path / "b")
        yield live, tmp_path / "shared", found


def test_a_model_that_cannot_be_written_down_for_new_workers_is_refused_by_all(
    two: tuple[Live, Path, tuple[str, str]],
):
    live, shared, (a, b) = two
    blocks = block(live, shared, ".served.json")
    point(shared.parent / "current", "b")
    for change in ("reload", "promote"):
        refused = live.post(f"/v1/{change}")
        assert refused.status_code == 409 and "must take which artifact" in refused.text
    os.kill(live.process.pid, signal.SIGHUP)
    until(lambda: live.value("vaewatch_reloads_total", result="refused") == 3)
    until(lambda: live.said.count("reload refused") == 3)
    assert live.said.count("promotion refused") == 1
    assert versions(live) == {a}
    audits = [line for line in logged(live) if line.get("action")]
    assert {(line["result"], line["version"]) for line in audits} == {("refused", a)}
    for path in blocks:
        path.rmdir()
    assert live.post("/v1/promote").json() == {"result": "promoted", "version": b}
    until(lambda: versions(live) == {b})


def test_workers_follow_a_reload_though_they_cannot_write(
    two: tuple[Live, Path, tuple[str, str]],
):
    live, shared, (_, b) = two
    _, second = block(live, shared, ".served.json")
    second.rmdir()  # whichever worker has room answers for both
    point(shared.parent / "current", "b")
    until(lambda: live.post("/v1/reload").status_code == 200)
    until(lambda: live.value("vaewatch_reloads_total", result="loaded") == 2)
    assert versions(live) == {b}


def test_a_proposal_that_cannot_be_noted_changes_nothing(
    two: tuple[Live, Path, tuple[str, str]],
):
    live, shared, (a, _) = two
    for seed in range(10):
        records = make_frame(300, seed).drop("order").to_dicts()
        assert live.post("/v1/score", json={"records": records}).status_code == 200
    until(lambda: live.value("vaewatch_records_total") == 3000)
    proposal = live.post("/v1/recalibrate", json={"force": True}).json()
    route = f"/v1/recalibrate/{proposal['id']}"

    def change(what: str, **body: bool) -> tuple[int, str]:
        """Make a change, and return which version the folder has, and all workers, after it."""
        status = live.post(f"{route}/{what}", json=body or None).status_code
        found = version_of(shared.parent / "a")
        until(lambda: versions(live) == {found})
        return status, found

    draft = f"recalibrations/.{proposal['id']}"
    blocks = block(live, shared, draft)
    assert change("apply", force=True) == (409, a)
    for path in blocks:
        path.rmdir()
    status, applied = change("apply", force=True)
    assert status == 200 and applied != a
    blocks = block(live, shared, draft)
    assert change("revert") == (409, applied)
    for path in blocks:
        path.rmdir()
    assert change("revert") == (200, a)


def test_a_worker_that_finds_no_room_for_its_counters_says_so(
    artifact_path: Path, small_disk: SmallDisk
):
    env = {"TMPDIR": str(small_disk.folder)}
    with serving(artifact_path, "--workers", "2", env=env) as live:
        first, _ = both_up(live)
        until(lambda: live.get("/metrics").status_code == 200)
        small_disk.fill()
        os.kill(first, signal.SIGKILL)
        until(lambda: "must have room for the counters of each worker" in live.said)
        assert live.get("/metrics").status_code == 200
        small_disk.clear()
        until(lambda: len(new_workers(live.process.pid, [])) == 2)


def test_a_service_that_finds_no_room_for_its_counters_does_not_start(
    artifact_path: Path, small_disk: SmallDisk
):
    small_disk.fill()
    with (small_disk.folder / "filling").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - (1 << 15))
    env = {**os.environ, "TMPDIR": str(small_disk.folder)}
    done = run("serve", artifact_path, "--workers", "2", "--port", "0", env=env)
    assert done.returncode == 1 and "listening" not in done.stderr
    assert done.stderr.startswith(f"error: '{small_disk.folder}/vaewatch-workers-")
    assert "must have room for the counters of each worker: No space left" in done.stderr


def test_the_counts_of_a_dead_worker_stay_in_little_room(artifact_path: Path, tmp_path: Path):
    with serving(artifact_path, "--workers", "2", env={"TMPDIR": str(tmp_path)}) as live:
        for _ in range(20):
            assert live.post("/v1/score", json={"records": RECORDS}).status_code == 200
        until(lambda: live.value("vaewatch_records_total") == 600)
        (folder,) = tmp_path.iterdir()
        old = both_up(live)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(new_workers(live.process.pid, old)) == 2)
        until(lambda: live.value("vaewatch_records_total") == 600)
        for pid in old:
            assert 0 < sum(path.stat().st_size for path in folder.glob(f"*_{pid}.db")) < 1 << 16


def test_a_worker_that_cannot_live_is_replaced_ever_more_rarely(
    artifact_path: Path, tmp_path: Path
):
    shutil.copytree(artifact_path, tmp_path / "artifact")
    with serving(tmp_path / "artifact", "--workers", "2") as live:
        worker, _ = both_up(live)  # one that had not loaded yet would die, too
        (tmp_path / "artifact").rename(tmp_path / "away")  # so that no worker can start
        os.kill(worker, signal.SIGKILL)
        until(lambda: live.said.count("died with") == 5, 120)
        at = [
            datetime.fromisoformat(line["time"]).timestamp()
            for line in logged(live)
            if "died with" in line["message"]
        ]
    # from one start to the next, however long each of them takes
    assert at[4] - at[0] > PAUSE * (2 + 4 + 8)
