"""Incidents of real services: workers, replicas, restarts, a store that is away."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import make_frame, run
from tests.live import Live, serving, until, wait_ready
from tests.postgres import Postgres, needs_postgres
from tests.service.incidents.conftest import (
    Records,
    incidents,
    odd_records,
    post,
    wait_for_alarms,
)
from tests.service.test_service_life import new_workers
from tests.training.test_time import make_orders
from vaewatch.scoring.incidents.described import report_of
from vaewatch.scoring.incidents.judged import JudgedRecords
from vaewatch.scoring.incidents.rule import Rules, members_of
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import table_of

GAP = 48 * 3600.0


def stream(n: int) -> Records:
    """Orders in order of time, some of them odd."""
    records = sorted(make_orders(n, seed=4).to_dicts(), key=lambda r: str(r["created_at"]))
    for i, record in enumerate(records):
        if i % 10 == 0:
            record["amount"] = 1e6
    return records


def expected(path: Path, records: Records, gap: float) -> dict[str, tuple[int, str]]:
    """Return the alarms and the first moment of each incident, by id, in one pass."""
    scorer = Scorer.load(path)
    artifact, verdicts = scorer.artifact, scorer.score_records(records)
    rules = Rules.of(artifact, int(gap * 1e6))
    table = table_of(artifact.schema, records)
    assert table.times is not None
    good = np.ones(len(table), bool)
    judged = JudgedRecords(table.times, members_of(artifact, table), verdicts, good)
    reports = [
        report_of(rules, group, one)
        for group in judged.grouped(rules).values()
        for one in group.incidents
    ]
    return {one.id: (one.alarms, str(one.first)) for one in reports}


def found_in(live: Live) -> dict[str, tuple[int, str]]:
    return {one["id"]: (one["alarms"], one["first"]) for one in incidents(live, limit=1000)}


def test_workers_make_the_incidents_of_one_pass_over_the_stream(timed_path: Path):
    records = stream(300)
    wanted = expected(timed_path, records, GAP)
    with serving(timed_path, "--workers", "2", "--merge-gap", "48h") as live:
        for i in range(0, 300, 30):
            post(live, records[i : i + 30])
        wait_for_alarms(live, sum(alarms for alarms, _ in wanted.values()))
        assert found_in(live) == wanted
        assert live.value("vaewatch_incident_alarms_dropped_total") == 0
        some = incidents(live)[0]
        assert live.get(f"/v1/incidents/{some['id']}").json()["id"] == some["id"]
        assert live.get("/v1/incidents/nothing").status_code == 404


def test_a_service_without_a_store_says_that_all_goes_when_it_stops(artifact_path: Path):
    with serving(artifact_path) as live:
        assert "incidents and feedback are gone when the service stops" in live.said
        post(live, odd_records(3))
        wait_for_alarms(live, 3)
        [one] = incidents(live, state="open")
        assert one["group"] == {"kind": "all", "name": ""}
        assert [example["record"] for example in one["examples"]] == ["o0", "o1", "o2"]
        assert one["columns"][0] == {"name": "amount", "share": 1.0, "above": 1.0, "below": 0.0}
        assert live.value("vaewatch_incidents_total", column="amount") == 1
        assert live.value("vaewatch_incidents_open") == 1


def test_a_segment_is_a_group(segmented_path: Path):
    with serving(segmented_path) as live:
        post(live, [{**r, "country": c} for r in odd_records(2) for c in ("NL", "DE", None)])
        wait_for_alarms(live, 6)
        assert {one["group"]["name"]: one["alarms"] for one in incidents(live)} == {
            "NL": 2,
            "DE": 2,
            "": 2,
        }
        assert len(incidents(live, group="NL")) == 1


@pytest.mark.parametrize("path", ["artifact_path", "segmented_path"])
def test_the_records_that_an_incident_shows_are_named_however_many_alarm(
    path: str, request: pytest.FixtureRequest
):
    """One request has a flood, and a few other alarms after it that are no more severe."""
    flood, others = odd_records(250), make_frame(4, seed=5).to_dicts()
    others = [{**r, "items": 10**6, "order": f"i{i}"} for i, r in enumerate(others)]
    others = [{**r, "country": "DE"} for r in others]
    with serving(request.getfixturevalue(path)) as live:
        post(live, [{**record, "country": "NL"} for record in flood] + others)
        alarms = live.value("vaewatch_records_total", verdict="anomaly")
        wait_for_alarms(live, int(alarms))
        found = incidents(live)
        assert {one["columns"][0]["name"] for one in found} == {"amount", "items"}
        assert all(example["record"] for one in found for example in one["examples"])


def test_the_alpha_of_a_request_changes_no_incident(artifact_path: Path):
    with serving(artifact_path) as live:
        body = {"records": odd_records(2)}
        for query in ("?alpha=0.02", "?alpha=0.2&explain=1"):
            assert live.post(f"/v1/score{query}", json=body).status_code == 200
        wait_for_alarms(live, 4)


def test_a_file_keeps_incidents_and_feedback_over_a_restart(artifact_path: Path, tmp_path: Path):
    store = f"sqlite:///{tmp_path}/store.sqlite"
    with serving(artifact_path, "--store", store) as live:
        post(live, odd_records(3))  # stopped at once: what waits is delivered at the end
        live.stop()
    with serving(artifact_path, "--store", store, "--workers", "2") as live:
        [one] = incidents(live)
        assert (one["alarms"], one["ongoing"]) == (3, True)
        body = {"incident": one["id"], "label": "confirmed", "id": "it"}
        assert live.post("/v1/feedback", json=body).status_code == 200
        live.stop(signal.SIGKILL)
    with serving(artifact_path, "--store", store) as live:
        post(live, odd_records(2))
        wait_for_alarms(live, 5)
        [same] = incidents(live)
        assert (same["id"], same["label"]) == (one["id"], "confirmed")


def test_a_file_that_was_removed_is_made_again_so_that_nothing_more_is_lost(
    artifact_path: Path, tmp_path: Path
):
    """The service would go on with the file that nobody sees, and lose all with it."""
    path, store = tmp_path / "it.sqlite", f"sqlite:///{tmp_path}/it.sqlite"
    said = {"record": "a", "label": "confirmed"}
    with serving(artifact_path, "--store", store, "--workers", "2") as live:
        post(live, odd_records(2))
        wait_for_alarms(live, 2)
        for file in tmp_path.glob("it.sqlite*"):
            file.unlink()
        assert live.post("/v1/feedback", json=said).status_code == 200
        assert path.is_file()
        post(live, odd_records(3))
        wait_for_alarms(live, 3)
        assert "the file of the store was removed or replaced" in live.said
    with serving(artifact_path, "--store", store) as live:
        wait_for_alarms(live, 3)
        assert len(live.get("/v1/feedback").json()["marks"]) == 1


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("store.sqlite", "--store must be sqlite:///FILE or postgresql://"),
        ("sqlite:////nowhere/it", "the folder '/nowhere' of --store must be there"),
        ("sqlite:///{here}/no", "cannot be used"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused(
    store: str, says: str, artifact_path: Path, tmp_path: Path
):
    (tmp_path / "no").write_text("this is no database, but some text that is long enough" * 20)
    done = run("serve", artifact_path, "--store", store.format(here=tmp_path), "--port", "0")
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def mark(live: Live, id: str, which: int, answered: set[str]) -> None:
    """Mark an incident, again and again until it is answered."""
    for _ in range(50):
        try:
            known = incidents(live, limit=1000)
            body = {"incident": known[which % len(known)]["id"], "label": "confirmed", "id": id}
            if live.post("/v1/feedback", json=body).status_code == 200:
                answered.add(id)
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)


@needs_postgres
@pytest.mark.alone
def test_replicas_lose_no_feedback_and_open_no_incident_twice_when_workers_are_killed(
    timed_path: Path, server: Postgres
):
    """Each batch is posted again if its answer is lost, and each feedback until it is answered."""
    records = stream(300)
    options = ("--store", server.url, "--workers", "2", "--merge-gap", "48h")
    with serving(timed_path, *options) as one, serving(timed_path, *options) as two:
        replicas, answered = (one, two), set[str]()
        for i in range(0, 300, 30):
            post(replicas[i // 30 % 2], records[i : i + 30])
            if i < 90:
                continue
            kills = i % 90 == 0
            if kills:
                time.sleep(2.5)  # alarms of the last two seconds are lost with their worker
            marks = [
                threading.Thread(target=mark, args=(replicas[j % 2], f"m{i + j}", j, answered))
                for j in range(4)
            ]
            for each in marks:
                each.start()
            if kills:
                for live in replicas:
                    os.kill(new_workers(live.process.pid, [])[0], signal.SIGKILL)
            for each in marks:
                each.join()
            for live in replicas:
                wait_ready(live)
        wanted = expected(timed_path, records, GAP)
        wait_for_alarms(one, sum(alarms for alarms, _ in wanted.values()))
        assert found_in(one) == found_in(two) == wanted
        kept = [m["id"] for m in one.get("/v1/feedback?limit=1000").json()["marks"]]
        assert len(answered) == len(kept) == 28
        assert set(kept) == answered


@needs_postgres
def test_a_service_scores_on_while_the_store_is_away(artifact_path: Path, server: Postgres):
    with serving(artifact_path, "--store", server.url) as live:
        post(live, odd_records(1))
        wait_for_alarms(live, 1)
        server.stop()
        until(lambda: live.value("vaewatch_store_away") == 1)
        post(live, odd_records(4))
        assert live.get("/readyz").status_code == 200
        for answer in (
            live.get("/v1/incidents"),
            live.post("/v1/feedback", json={"record": "a", "label": "confirmed"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "store_away")
            assert answer.headers["retry-after"] == "1"
        until(lambda: live.value("vaewatch_incident_alarms_waiting") == 4)
        server.start()
        wait_for_alarms(live, 5)
        until(lambda: live.value("vaewatch_store_away") == 0)
        assert live.said.count("the store is away") == live.said.count("the store is back") == 1


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_no_request_makes_the_store_away_for_others(
    artifact_path: Path, tmp_path: Path, request: pytest.FixtureRequest, kind: str
):
    url = f"sqlite:///{tmp_path}/it.sqlite"
    if kind == "postgresql":
        url = request.getfixturevalue("server").url
    long = "0" * 19 + "1" + "9" * 40
    with serving(artifact_path, "--store", url) as live:
        for method, path, status in (
            ("GET", "/v1/feedback?incident=%00", 200),
            ("GET", f"/v1/feedback?limit={long}", 400),
            ("GET", f"/v1/feedback?cursor={long}", 400),
            ("GET", f"/v1/incidents?limit={long}", 400),
            ("GET", "/v1/incidents?cursor=9999999999999999999.1", 400),
            ("GET", "/v1/incidents?cursor=-1.9999999999999999999", 400),
            ("GET", "/v1/incidents?cursor=1.9223372036854775807", 200),
            ("GET", "/v1/incidents?group=%00&column=%00", 200),
            ("GET", "/v1/incidents/%00", 404),
            ("DELETE", "/v1/patterns/%00", 404),
        ):
            answer = live.ask(method, path)
            assert (path, answer.status_code) == (path, status), answer.text
            assert live.get("/v1/incidents").status_code == 200
        assert "the store is away" not in live.said


@needs_postgres
def test_a_service_starts_while_the_store_is_away(artifact_path: Path, server: Postgres):
    server.stop()
    with serving(artifact_path, "--store", server.url) as live:
        post(live, odd_records(2))
        server.start()
        wait_for_alarms(live, 2)


def write_keys(path: Path, **keys: str) -> None:
    lines = [f"{s} {hashlib.sha256(key.encode()).hexdigest()} {s}-key" for s, key in keys.items()]
    path.write_text("\n".join(lines) + "\n")


def test_the_scope_feedback_may_say_things_and_change_no_model(
    artifact_path: Path, tmp_path: Path
):
    keys = {scope: f"a {scope} key of some length" for scope in ("score", "feedback", "admin")}
    write_keys(tmp_path / "keys", **keys)
    with serving(artifact_path, "--keys-file", str(tmp_path / "keys")) as live:

        def ask(method: str, path: str, scope: str, body: Any = None) -> httpx.Response:
            headers = {"authorization": f"Bearer {keys[scope]}"}
            return live.ask(method, path, json=body, headers=headers)

        said = {"record": "o1", "label": "confirmed"}
        expect = {"columns": ["amount"], "until": time.time() + 60}
        assert ask("GET", "/v1/incidents", "score").status_code == 200
        assert ask("GET", "/v1/feedback", "score").status_code == 200
        for path, body in (("/v1/feedback", said), ("/v1/patterns", expect)):
            refused = ask("POST", path, "score", body)
            assert refused.status_code == 403
            assert "must have the feedback scope for this; it has score" in refused.text
            assert ask("POST", path, "feedback", body).status_code == 200
            assert ask("POST", path, "admin", body).status_code == 200
        assert ask("POST", "/v1/reload", "feedback").status_code == 403
        assert ask("DELETE", "/v1/patterns/x", "score").status_code == 403
        marks = ask("GET", "/v1/feedback", "score").json()["marks"]
        assert [mark["by"] for mark in marks] == ["feedback-key", "admin-key"]
        assert live.get("/v1/incidents").status_code == 401
        lines = [line for line in live.lines if '"vaewatch.audit"' in line]
        assert len(lines) == 4  # a refusal for the scope's sake is in the access log
        evil = {"authorization": f"Bearer {keys['feedback']}", "origin": "https://evil.example"}
        assert live.post("/v1/feedback", json=said, headers=evil).status_code == 403
