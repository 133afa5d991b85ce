"""POST /v1/recalibrate against real services: proposed, applied, reverted, by any worker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import vaewatch
from benchmarks.moving import serving as clocked
from tests.conftest import SMALL, make_frame
from tests.live import Live, serving, until
from tests.service.test_service_life import ADMIN, SCORE, bearer, write_keys
from tests.training.test_time import make_orders
from vaewatch.scoring.artifact import NETWORK
from vaewatch.scoring.disk.reading import read_manifest
from vaewatch.scoring.disk.versions import versions, write_artifact
from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.client import ServiceError
from vaewatch.service.recalibrate.sample import Period, TimeSpan
from vaewatch.training.train import train

Json = dict[str, Any]


def moved(n: int, seed: int, by: float = 1.4) -> list[Json]:
    """The same shop in another season: every number of it varies more."""
    rng = np.random.default_rng(seed)
    size = by * rng.normal(size=n)
    frame = make_frame(n, seed).drop("order")
    amount = np.round(100 + 20 * size + by * rng.normal(size=n), 2)
    age = pl.when(pl.col("age").is_null()).then(None).otherwise(pl.Series(40 + 10 * size))
    return frame.with_columns(amount=pl.Series(amount), age=age.round(1)).to_dicts()


def score(live: Live, records: list[Json], **headers: str) -> list[bool]:
    answer = live.post("/v1/score", json={"records": records}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [result["is_anomaly"] for result in answer.json()["results"]]


@pytest.fixture
def artifact(artifact_path: Path, tmp_path: Path) -> Path:
    return shutil.copytree(artifact_path, tmp_path / "shop")


def test_a_shift_is_proposed_applied_and_reverted(artifact: Path):
    parent = read_manifest(artifact)
    with serving(artifact) as live:
        before = np.mean(score(live, moved(3000, 1)))
        assert before > 0.06
        found = live.post("/v1/recalibrate", json={"last": "1h"})
        assert found.status_code == 200, found.text
        proposal = found.json()
        assert proposal["state"] == "proposed" and not proposal["refusals"]
        assert proposal["records"] == proposal["n"] == 3000 and proposal["alpha"] == 0.05
        assert proposal["before"]["rate"] == pytest.approx(before)
        assert proposal["after"]["rate"] == pytest.approx(0.05, abs=0.001)
        assert proposal["after"]["threshold"] > proposal["before"]["threshold"]
        assert proposal["after"]["old_scores_rate"] < 0.05
        low, high = proposal["rate_interval_95"]
        assert low < 0.05 < high
        assert sum(proposal["after"]["severities"]) == 3000
        assert any("other hours" in text for text in proposal["warnings"])
        assert live.get("/v1/model").json()["version"] == parent.version  # nothing has changed

        path = f"/v1/recalibrate/{proposal['id']}"
        applied = live.post(f"{path}/apply").json()
        assert applied["state"] == "applied" and not applied["forced"]
        card = live.get("/v1/model").json()
        assert card["version"] == applied["version"] != parent.version
        assert live.post(f"{path}/apply").json() == applied  # a second time changes nothing
        assert low < np.mean(score(live, moved(3000, 2))) < high + 0.01
        listed = live.get("/v1/recalibrate").json()["proposals"]
        assert listed == [applied]

        child = read_manifest(artifact)
        assert child.version == applied["version"] and child.parent == parent.version
        assert child.calibration.n == 3000 and child.calibration.rule == "split"
        assert child.calibration_fingerprint != parent.calibration_fingerprint
        assert child.sha256[NETWORK] == parent.sha256[NETWORK]
        assert child.name == parent.name and child.data_fingerprint == parent.data_fingerprint
        assert Scorer.load(artifact).artifact.calibration.n == 3000  # verified

        reverted = live.post(f"{path}/revert").json()
        assert reverted["state"] == "reverted"
        assert live.get("/v1/model").json()["version"] == parent.version
        assert live.post(f"{path}/revert").json() == reverted
        assert live.post(f"{path}/apply").status_code == 409
        assert live.value("vaewatch_recalibrations_total", result="proposed") == 1
        assert live.value("vaewatch_recalibrations_total", result="applied") == 2
        assert live.value("vaewatch_recalibrations_total", result="reverted") == 2
        assert live.value("vaewatch_recalibrations_total", result="failed") == 1
        assert live.value("vaewatch_recalibration_timestamp_seconds") > 1e9


def test_what_was_applied_survives_a_restart(artifact: Path):
    with serving(artifact) as live:
        score(live, moved(3000, 1))
        name = live.post("/v1/recalibrate").json()["id"]
        version = live.post(f"/v1/recalibrate/{name}/apply").json()["version"]
    with serving(artifact) as live:
        assert live.get("/v1/model").json()["version"] == version
        assert live.get("/v1/recalibrate").json() == {"proposals": []}
        answer = live.post("/v1/recalibrate")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert "got none" in answer.json()["detail"]


def odd(n: int, seed: int) -> list[Json]:
    """Orders that are anomalies, each by far."""
    return [row | {"amount": 900.0, "items": 1, "age": 12.0} for row in moved(n, seed, 1.0)]


def test_an_attack_is_not_learned_unless_it_is_forced(artifact: Path, tmp_path: Path):
    keys = tmp_path / "keys"
    write_keys(keys, admin=ADMIN)
    with serving(artifact, "--keys-file", str(keys)) as live:
        admin = bearer(ADMIN)
        for seed in range(4):
            score(live, [*moved(450, seed, 1.0), *odd(200, seed)], **admin)
        proposal = live.post("/v1/recalibrate", headers=admin).json()
        assert proposal["state"] == "refused"
        assert {reason["code"] for reason in proposal["refusals"]} >= {"severe", "far"}
        path = f"/v1/recalibrate/{proposal['id']}/apply"
        answer = live.post(path, headers=admin)
        assert answer.status_code == 409 and "added to its end" in answer.json()["detail"]
        assert live.get("/v1/model", headers=admin).json()["version"] == proposal["parent"]
        forced = live.post(path, json={"force": True}, headers=admin).json()
        assert forced["state"] == "applied" and forced["forced"]
        assert live.value("vaewatch_recalibrations_total", result="forced") == 1
    lines = [json.loads(line) for line in live.lines if "vaewatch.audit" in line]
    key = lines[0]["key"]
    told = [(line["action"], line["result"], line["key"]) for line in lines]
    assert told == [
        ("recalibrate", "refused", key),
        ("recalibrate.apply", "failed", key),
        ("recalibrate.apply", "forced", key),
    ]
    assert {line["proposal"] for line in lines} == {proposal["id"]}
    assert lines[-1]["version"] == forced["version"]


def test_an_incident_can_be_left_out(artifact: Path):
    with serving(artifact) as live:
        score(live, moved(500, 1))
        now = datetime.now(UTC).timestamp()
        before = {"since": now - 7200, "until": now - 3600}
        proposal = live.post("/v1/recalibrate", json={"exclude": [before]}).json()
        assert proposal["records"] == 500 and len(proposal["exclude"]) == 1
        assert (proposal["excluded"], proposal["left_out"]) == (0, 0)
        whole = {"since": datetime.fromtimestamp(now - 60, UTC).isoformat(), "until": now + 60}
        answer = live.post("/v1/recalibrate", json={"exclude": [whole]})
        assert answer.status_code == 409 and "must be records" in answer.json()["detail"]


@pytest.mark.parametrize("since", ["{:.1f}", "{:.0f}"])
def test_times_are_read_as_those_of_other_requests_are(artifact: Path, since: str):
    with serving(artifact) as live:
        score(live, moved(500, 1))
        start = since.format(datetime.now(UTC).timestamp() - 3600)
        assert live.post("/v1/recalibrate", json={"since": start}).json()["records"] == 500
        assert live.post("/v1/recalibrate", json={"last": "1.5h"}).json()["records"] == 500


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "must be as /openapi.json says"),
        (b"{", "must be a JSON object"),
        (b'{"lats": "1h"}', "lats"),
        (b'{"last": "1y"}', "'last' must be a length of time"),
        (b'{"last": "1h", "since": 5}', "must not both be given"),
        (b'{"since": "yesterday"}', "must be ISO 8601"),
        (b'{"since": 1e300}', "'since' must be ISO 8601 or Unix seconds"),
        (b'{"until": -9, "last": "104249d"}', "must end after it begins"),
        (b'{"since": 7, "until": 7}', "must end after it begins"),
        (b'{"alpha": 2}', "alpha"),
    ],
)
def test_a_body_that_asks_for_nothing_sound_is_refused(idle: Live, body: bytes, text: str):
    answer = idle.post("/v1/recalibrate", content=body)
    assert answer.status_code == 400 and text in answer.json()["detail"]


@pytest.fixture(scope="module")
def idle(artifact_path: Path) -> Iterator[Live]:
    with serving(artifact_path) as live:
        yield live


def test_there_must_be_records_and_enough_of_them(idle: Live):
    records = moved(30, 1)
    answer = idle.post("/v1/recalibrate", json={"since": 1000, "until": 5000})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "got none" in answer.json()["detail"]
    score(idle, records)
    few = idle.post("/v1/recalibrate").json()
    assert few["state"] == "refused" and few["refusals"][0]["code"] == "few"
    answer = idle.post("/v1/recalibrate", json={"alpha": 0.001})
    assert answer.status_code == 422 and "at least 999 calibration" in answer.json()["detail"]
    answer = idle.post("/v1/recalibrate/0123456789ab/apply")
    assert answer.status_code == 404 and "GET /v1/recalibrate" in answer.json()["detail"]
    assert idle.post("/v1/recalibrate/..%2f/revert").status_code == 404
    answer = idle.post(f"/v1/recalibrate/{few['id']}/revert")
    assert answer.status_code == 409 and "must have been applied" in answer.json()["detail"]


def test_it_takes_an_admin_key_of_the_same_site(artifact: Path, tmp_path: Path):
    keys = tmp_path / "keys"
    write_keys(keys, score=SCORE, admin=ADMIN)
    with serving(artifact, "--keys-file", str(keys)) as live:
        paths = ("", "/0123456789ab/apply", "/0123456789ab/revert")
        for path in paths:
            url = f"/v1/recalibrate{path}"
            assert live.post(url).status_code == 401
            assert live.post(url, headers=bearer(SCORE)).status_code == 403
            elsewhere = {**bearer(ADMIN), "sec-fetch-site": "cross-site"}
            assert live.post(url, headers=elsewhere).status_code == 403
            assert live.post(url, headers=bearer(ADMIN)).status_code in (404, 409)
        assert live.get("/v1/recalibrate").status_code == 401
        assert live.get("/v1/recalibrate", headers=bearer(SCORE)).status_code == 200


def test_an_artifact_that_has_changed_since_is_left_alone(artifact: Path, newer_path: Path):
    with serving(artifact) as live:
        score(live, moved(3000, 1))
        first, second = (live.post("/v1/recalibrate").json()["id"] for _ in range(2))
        applied = live.post(f"/v1/recalibrate/{first}/apply").json()
        answer = live.post(f"/v1/recalibrate/{second}/apply")
        assert answer.status_code == 409 and "has changed since" in answer.json()["detail"]
        replace(artifact, newer_path)
        for what in ("apply", "revert"):
            answer = live.post(f"/v1/recalibrate/{first}/{what}")
            assert answer.status_code == 409 and "must still be version" in answer.json()["detail"]
        assert read_manifest(artifact).version == read_manifest(newer_path).version
        assert live.get("/v1/model").json()["version"] == applied["version"]


def replace(artifact: Path, by: Path) -> None:
    manifest = Manifest.from_bytes((by / "manifest.json").read_bytes(), str(by))
    files = {name: (by / name).read_bytes() for name in manifest.sha256}
    write_artifact(artifact, manifest, files, overwrite=True, keep=5)


def test_an_artifact_that_cannot_be_written_stays_and_the_answer_says_what_to_do(
    artifact_path: Path, tmp_path: Path
):
    artifact = shutil.copytree(artifact_path, tmp_path / "shop")
    (tmp_path / ".shop.lock").mkdir()  # root may write anywhere but here
    with serving(artifact) as live:
        score(live, moved(3000, 1))
        proposal = live.post("/v1/recalibrate").json()
        answer = live.post(f"/v1/recalibrate/{proposal['id']}/apply")
        assert answer.status_code == 409
        assert "run vaewatch recalibrate" in answer.json()["detail"]
        assert live.get("/v1/model").json()["version"] == proposal["parent"]
    assert read_manifest(artifact).version == proposal["parent"] and not versions(artifact)


def test_a_link_to_the_artifact_stays_a_link(artifact: Path):
    link = artifact.with_name("current")
    link.symlink_to(artifact)
    with serving(link) as live:
        score(live, moved(3000, 1))
        name = live.post("/v1/recalibrate").json()["id"]
        applied = live.post(f"/v1/recalibrate/{name}/apply").json()
        assert link.is_symlink() and read_manifest(artifact).version == applied["version"]
        live.post(f"/v1/recalibrate/{name}/revert")
        assert read_manifest(artifact).version == applied["parent"]


def test_any_worker_applies_what_another_has_proposed(artifact: Path):
    """Each request comes on a connection of its own, so that they reach different workers."""
    with serving(artifact, "--workers", "2") as live:
        for seed in range(20):
            score(live, moved(200, seed))
        total = 4000

        def proposed() -> Json:
            return dict(live.post("/v1/recalibrate").json())

        until(lambda: proposed().get("records") == total, 30)  # published within ten seconds
        proposal = proposed()
        path = f"/v1/recalibrate/{proposal['id']}"
        applied = [live.post(f"{path}/apply").json() for _ in range(6)]
        assert applied == [applied[0]] * 6 and applied[0]["state"] == "applied"

        def answering() -> set[str]:
            return {str(live.get("/v1/model").json()["version"]) for _ in range(10)}

        until(lambda: answering() == {applied[0]["version"]})
        assert live.value("vaewatch_recalibrations_total", result="applied") == 6
        assert live.post(f"{path}/revert").json()["state"] == "reverted"
        until(lambda: answering() == {proposal["parent"]})
        assert live.value("vaewatch_recalibration_timestamp_seconds") > 1e9


def test_only_the_last_proposals_are_kept(idle: Live):
    score(idle, moved(300, 1))
    names = [idle.post("/v1/recalibrate").json()["id"] for _ in range(22)]
    listed = [one["id"] for one in idle.get("/v1/recalibrate").json()["proposals"]]
    assert len(listed) == 20 and set(listed) <= set(names)


def test_the_client_recalibrates(artifact: Path):
    key = "a key that is long enough"
    with serving(artifact, env={"VAEWATCH_KEY": key}) as live:
        with vaewatch.Client(live.url, key) as client:
            client.score(moved(3000, 1))
            proposal = client.recalibrate(last="2h", alpha=0.04)
            assert proposal["state"] == "proposed" and proposal["alpha"] == 0.04
            assert client.apply(proposal["id"])["state"] == "applied"
            assert client.model()["alpha"] == 0.04
            assert client.revert(proposal["id"])["state"] == "reverted"
            assert [one["id"] for one in client.recalibrations()] == [proposal["id"]]
            with pytest.raises(ServiceError, match="reverted"):
                client.apply(proposal["id"])


def test_what_was_foretold_of_blocks_of_time_is_not_kept(tmp_path: Path):
    path, orders = tmp_path / "timed", make_orders(1500)
    train(orders, path, report=False, alpha=0.05, id="order", time="created_at", **SMALL)
    parent = read_manifest(path)
    assert parent.outlook is not None
    with serving(path) as live:
        score(live, orders.drop("order").to_dicts())
        name = live.post("/v1/recalibrate").json()["id"]
        applied = live.post(f"/v1/recalibrate/{name}/apply", json={"force": True}).json()
        assert live.get("/v1/model").json()["version"] == applied["version"]
    child = read_manifest(path)
    assert child.outlook is None and child.parent == parent.version
    assert child.format_version == parent.format_version


def test_a_flood_shows_beside_the_traffic_before(artifact: Path):
    """4% of a minute, of a budget of 5%: a small calibration alone can hardly show that."""
    with clocked(artifact) as service:
        for hour in range(10):
            service.set_clock(3600 * hour)
            service.score(moved(600, hour, 1.0))
        service.set_clock(36_000)
        quiet = service.propose("1h")
        assert quiet["records"] == 600 and not quiet["refusals"]
        service.score([*moved(960, 20, 1.0), *odd(40, 20)])
        service.set_clock(36_060)
        flooded = service.propose("1m")
        assert flooded["records"] == 1000
        assert "severe" in {reason["code"] for reason in flooded["refusals"]}


def test_the_time_before_ends_with_the_minute_in_which_a_period_begins():
    period = Period(TimeSpan(1000, 2000), (TimeSpan(100, 200),))
    before = period.before(600)
    assert before.over == TimeSpan(360, 960) and before.without == period.without
    minutes = 60 * np.arange(40)
    assert not (period.holds(minutes) & before.holds(minutes)).any()
    assert (period.holds(minutes) | before.holds(minutes)).sum() == 28
