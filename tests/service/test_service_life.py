"""Keys, reloads, shadows, workers and the end, against real services."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tests.conftest import SMALL, make_frame, run
from tests.live import Live, serving, until
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.train import train

SCORE, ADMIN = "a score key of some length", "an admin key of some length"


@pytest.fixture(scope="module")
def records(mixed_frame: pl.DataFrame) -> list[dict[str, Any]]:
    return mixed_frame.drop("order").to_dicts()


def version_of(path: Path) -> str:
    return read_manifest(path).version


def write_keys(path: Path, **keys: str) -> None:
    lines = [f"{scope} {hashlib.sha256(key.encode()).hexdigest()}" for scope, key in keys.items()]
    path.write_text("# rotated by hand\n" + "\n".join(lines) + "\n")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_polars_is_loaded_when_the_first_csv_body_comes(
    artifact_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path) as live:
        maps = Path(f"/proc/{live.process.pid}/maps")

        def loads_polars() -> bool:
            return "polars" in maps.read_text()

        assert live.post("/v1/score", json={"records": records[:1]}).status_code == 200
        assert live.get("/metrics").status_code == 200 and not loads_polars()
        csv = pl.DataFrame(records[:1]).write_csv()
        answer = live.post("/v1/score", content=csv, headers={"content-type": "text/csv"})
        assert answer.status_code == 200 and loads_polars()


def test_keys_open_what_their_scope_says_and_rotate(
    artifact_path: Path, tmp_path: Path, records: list[dict[str, Any]]
):
    keys, body = tmp_path / "keys", {"records": records[:1]}
    write_keys(keys, score=SCORE, admin=ADMIN)
    with serving(artifact_path, "--keys-file", str(keys), "--metrics-key") as live:

        def post(path: str, key: str | None) -> int:
            return live.post(path, json=body, headers=bearer(key) if key else {}).status_code

        assert [live.get(path).status_code for path in ("/livez", "/readyz", "/docs")] == [200] * 3
        assert live.get("/metrics").status_code == 401
        assert live.get("/v1/model").status_code == 401
        assert live.get("/made/up").status_code == 401
        assert post("/v1/score", None) == 401
        assert post("/v1/score", SCORE[:-1] + "x") == 401
        assert post("/v1/score", SCORE) == post("/v1/score", ADMIN) == 200
        assert post("/v1/reload", SCORE) == 403
        assert post("/v1/reload", ADMIN) == 200
        write_keys(keys, score=SCORE + "2", admin=ADMIN)
        until(lambda: post("/v1/score", SCORE) == 401)
        assert post("/v1/score", SCORE + "2") == 200
        keys.write_text("nonsense")
        time.sleep(1.2)
        assert post("/v1/score", SCORE + "2") == 200
    assert SCORE not in live.said


def test_beyond_loopback_a_key_is_needed(artifact_path: Path):
    done = run("serve", artifact_path, "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "must have keys" in done.stderr
    with serving(artifact_path, env={"VAEWATCH_KEY": ADMIN}) as live:
        assert live.get("/v1/model").status_code == 401
        assert live.get("/v1/model", headers={"x-api-key": ADMIN}).status_code == 200


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_bad_keys_are_refused_before_the_service_listens(
    artifact_path: Path, tmp_path: Path, workers: str
):
    (tmp_path / "keys").write_text("score 123")
    words = ("--port", "0", "--workers", workers, "--keys-file", tmp_path / "keys")
    done = run("serve", artifact_path, *words)
    assert done.returncode == 2
    words_of_it = "line 1 must be 'score', 'feedback' or 'admin'"
    assert done.stderr.startswith("error: ") and words_of_it in done.stderr
    assert "listening" not in done.stderr


def test_a_page_of_another_site_may_not_reload(artifact_path: Path):
    with serving(artifact_path) as live:
        answer = live.post("/v1/reload", headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403


@pytest.fixture
def current(artifact_path: Path, newer_path: Path, tmp_path: Path) -> Path:
    """A `current` link to one of two artifacts."""
    shutil.copytree(artifact_path, tmp_path / "a")
    shutil.copytree(newer_path, tmp_path / "b")
    link = tmp_path / "current"
    link.symlink_to(tmp_path / "a")
    return link


def point(link: Path, target: str) -> None:
    draft = link.with_name("draft")
    draft.symlink_to(link.parent / target)
    draft.rename(link)


def test_a_reload_by_route_signal_and_watch_swaps_the_model(current: Path):
    a, b = version_of(current.parent / "a"), version_of(current.parent / "b")
    with serving(current, "--watch", "0.2") as live:

        def version() -> str:
            return str(live.get("/v1/model").json()["version"])

        assert version() == a
        point(current, "b")
        until(lambda: version() == b)
        assert live.post("/v1/reload").json() == {"result": "unchanged", "version": b}
    with serving(current) as live:
        point(current, "a")
        assert live.post("/v1/reload").json() == {"result": "loaded", "version": a}
        point(current, "b")
        live.process.send_signal(signal.SIGHUP)
        until(lambda: str(live.get("/v1/model").json()["version"]) == b)
        assert live.value("vaewatch_reloads_total", result="loaded") == 2
        assert live.value("vaewatch_model_info", version=b) == 1
        assert live.value("vaewatch_model_info", version=a) == 0


def test_a_corrupt_artifact_changes_nothing(current: Path, records: list[dict[str, Any]]):
    with serving(current) as live:
        network = current / "network.onnx"
        network.write_bytes(network.read_bytes()[:-10])
        answer = live.post("/v1/reload")
        assert answer.status_code == 409
        assert "is damaged" in answer.json()["detail"]
        assert live.post("/v1/score", json={"records": records[:2]}).status_code == 200
        assert live.get("/readyz").status_code == 200
        assert live.value("vaewatch_reloads_total", result="refused") == 1
        assert "reload refused" in live.said


def test_a_shadow_scores_along_and_can_be_promoted(
    artifact_path: Path, newer_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path, "--shadow", str(newer_path)) as live:
        live.post("/v1/score", json={"records": records})
        until(lambda: live.value("vaewatch_shadow_records_total") == len(records))
        assert live.value("vaewatch_shadow_rank_shift_count") == len(records)
        assert live.get("/v1/model").json()["version"] == version_of(artifact_path)
        promoted = live.post("/v1/promote").json()
        assert promoted == {"result": "promoted", "version": version_of(newer_path)}
        assert live.get("/v1/model").json()["version"] == version_of(newer_path)
        assert live.post("/v1/promote").status_code == 409
        until(lambda: live.said.count("promotion refused: there must be a shadow to promote") == 1)
        live.process.send_signal(signal.SIGUSR1)
        until(lambda: live.said.count("promotion refused: there must be a shadow") == 2)
        assert live.post("/v1/reload").json()["version"] == version_of(newer_path)


@pytest.mark.parametrize("path", ["artifact_path", "segmented_path"])
def test_the_alpha_of_a_request_is_no_disagreement_of_the_shadow(
    request: pytest.FixtureRequest, path: str, tmp_path: Path, records: list[dict[str, Any]]
):
    model, twin = request.getfixturevalue(path), tmp_path / "twin"
    shutil.copytree(model, twin)
    some = records[:240]
    with serving(model, "--shadow", str(twin)) as live:
        found = live.post("/v1/score?alpha=0.5&explain=1", json={"records": some}).json()
        assert sum(one["is_anomaly"] for one in found["results"]) > 50
        until(lambda: live.value("vaewatch_shadow_records_total") == len(some))
        assert live.value("vaewatch_shadow_disagreements_total") == 0
        assert live.value("vaewatch_shadow_rank_shift_sum") == 0
        alarms = live.value("vaewatch_alarms_total")
        assert live.value("vaewatch_shadow_records_total", verdict="anomaly") == alarms
        explained = [one for one in found["results"] if one["p_value"] <= 0.05 and one["reasons"]]
        assert live.value("vaewatch_column_top_reason_total") == len(explained)
        assert 0 < len(explained) <= alarms < 50


def test_a_shadow_that_is_the_artifact_is_refused(artifact_path: Path):
    done = run("serve", artifact_path, "--shadow", artifact_path.parent / "." / "shop")
    assert done.returncode == 2
    assert f"--shadow must be an artifact other than '{artifact_path}'." in done.stderr


def test_a_shadow_of_other_columns_is_refused(artifact_path: Path, tmp_path: Path):
    other = tmp_path / "other"
    train(make_frame(100).drop("amount"), other, report=False, alpha=0.05, id="order", **SMALL)
    done = run("serve", artifact_path, "--shadow", other, "--port", "0")
    assert done.returncode == 4
    assert "'amount' differs" in done.stderr


@pytest.fixture(scope="module")
def workers(artifact_path: Path, newer_path: Path) -> Iterator[Live]:
    with serving(artifact_path, "--workers", "2", "--shadow", str(newer_path)) as live:
        yield live


def test_workers_sum_their_metrics_and_are_replaced(
    workers: Live, artifact_path: Path, records: list[dict[str, Any]]
):
    def score(n: int) -> int:
        done = 0
        for _ in range(n):
            try:
                done += (
                    workers.post("/v1/score", json={"records": records[:10]}).status_code == 200
                )
            except httpx.TransportError:
                pass  # it was in the hands of the worker that died
        return done

    scored = score(30)
    assert scored == 30
    counted = 10 * scored
    until(lambda: workers.value("vaewatch_records_total") == counted)
    expected = counted * Scorer.load(artifact_path).artifact.calibration.rate_law().mean
    assert workers.value("vaewatch_alarms_expected_total") == pytest.approx(expected)
    children = child_pids(workers.process.pid)
    victims = [pid for pid in children if "spawn_main" in command_of(pid)]
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    until(lambda: len(new_workers(workers.process.pid, victims)) == 1)
    assert workers.value("vaewatch_worker_deaths_total") == 1
    assert workers.value("vaewatch_records_total") >= counted
    assert workers.value("vaewatch_alarms_expected_total") >= expected * (1 - 1e-12)
    assert score(30) >= 29
    until(lambda: workers.value("vaewatch_records_total") >= counted + 290)


def test_a_promotion_reaches_every_worker(workers: Live, newer_path: Path):
    workers.post("/v1/promote")
    wanted = version_of(newer_path)
    until(lambda: {workers.get("/v1/model").json()["version"] for _ in range(10)} == {wanted})


def test_replaced_workers_answer_as_those_before_them(current: Path):
    with serving(current, "--workers", "2") as live:
        until(lambda: sum(map(reloads_on_sighup, new_workers(live.process.pid, []))) == 2)
        point(current, "b")
        live.post("/v1/reload")
        # the worker that was asked, and then both by the parent: only now may the link move on
        until(lambda: live.value("vaewatch_reloads_total") == 3)
        point(current, "a")  # and nobody asks for a reload
        old = new_workers(live.process.pid, [])
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(new_workers(live.process.pid, old)) == 2)
        versions = {live.get("/v1/model").json()["version"] for _ in range(10)}
        assert versions == {version_of(current.parent / "b")}
        assert live.post("/v1/reload").json()["version"] == version_of(current.parent / "a")


def reloads_on_sighup(pid: int) -> bool:
    """Has this process got as far as to handle the signal? Until then it would end it."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and int(caught[1], 16) >> (signal.SIGHUP - 1) & 1 == 1


def child_pids(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def new_workers(parent: int, old: list[int]) -> list[int]:
    return [
        pid for pid in child_pids(parent) if pid not in old and "spawn_main" in command_of(pid)
    ]


@pytest.mark.alone
@pytest.mark.parametrize("workers", ["1", "2"])
def test_requests_under_sigterm_are_answered(
    workers: str, artifact_path: Path, records: list[dict[str, Any]]
):
    body = {"records": records[:5]}
    with serving(artifact_path, "--drain-seconds", "0.5", "--workers", workers) as live:
        statuses: list[int | str] = []

        def hammer() -> None:
            with httpx.Client(timeout=10) as client:
                while True:
                    try:
                        statuses.append(client.post(live.url + "/v1/score", json=body).status_code)
                    except httpx.ConnectError:
                        return  # no longer listening: never accepted
                    except httpx.TransportError as error:
                        statuses.append(type(error).__name__)

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        live.process.send_signal(signal.SIGTERM)
        until(lambda: live.process.poll() is not None)
        for thread in threads:
            thread.join()
        assert live.process.returncode == 0
        assert set(statuses) == {200}


def test_a_watch_ends_in_silence_with_the_service(artifact_path: Path):
    with serving(artifact_path, "--watch", "0.1", "--drain-seconds", "0.5") as live:
        live.process.send_signal(signal.SIGTERM)
        until(lambda: live.process.poll() is not None)
        assert live.process.returncode == 0 and "the watch of the artifact" not in live.said


def test_a_connection_that_has_asked_nothing_yet_is_waited_for(
    artifact_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path) as live:
        slow = http.client.HTTPConnection(live.url.removeprefix("http://"), timeout=10)
        slow.connect()
        live.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(live))  # after a second, in which it is not let in
        slow.request("POST", "/v1/score", json.dumps({"records": records[:5]}))
        assert slow.getresponse().status == 200
        until(lambda: live.process.poll() is not None)
        assert live.process.returncode == 0


def refuses(live: Live) -> bool:
    try:
        live.get("/livez")
    except httpx.ConnectError:
        return True
    return False


def test_draining_is_not_ready(artifact_path: Path):
    with serving(artifact_path, "--drain-seconds", "2") as live:
        live.process.send_signal(signal.SIGTERM)
        until(lambda: live.get("/readyz").status_code == 503)
        assert live.get("/livez").status_code == 200


@pytest.mark.alone
def test_slow_clients_do_not_keep_others_from_being_served(
    artifact_path: Path, records: list[dict[str, Any]]
):
    with serving(artifact_path, "--body-timeout", "5") as live:
        port = int(live.url.rsplit(":", 1)[1])
        head = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for connection in slow:
            connection.sendall(head)
        assert live.post("/v1/score", json={"records": records[:1]}).status_code == 200
        assert select.select(slow, [], [], 0)[0] == []  # none of them was answered before
        slow[0].close()  # a client that vanishes in the middle of its body
        slow[1].settimeout(10)
        assert slow[1].recv(200).startswith(b"HTTP/1.1 408")
        for connection in slow:
            connection.close()
        assert live.value("vaewatch_request_duration_seconds_count", code="408") >= 1


@pytest.mark.alone
def test_too_many_requests_at_once_are_refused_at_once(
    artifact_path: Path, records: list[dict[str, Any]]
):
    body = json.dumps({"records": (records * 3)[:1000]})
    with serving(artifact_path, "--max-in-flight", "1") as live:
        answers: list[httpx.Response] = []
        threads = [
            threading.Thread(target=lambda: answers.append(live.post("/v1/score", content=body)))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in answers if answer.status_code == 429]
        assert {answer.status_code for answer in answers} == {200, 429}
        assert all(answer.headers["retry-after"] == "1" for answer in refused)


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_unix_socket(workers: str, artifact_path: Path, tmp_path: Path):
    path = tmp_path / "s"
    with serving(artifact_path, "--uds", str(path), "--workers", workers) as live:
        assert live.get("/readyz").status_code == 200
        assert live.stop() == 0
        assert not path.exists()
