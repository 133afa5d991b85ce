"""`vaewatch serve --notify` and `vaewatch notify`, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tests.conftest import make_frame, run
from tests.live import Live, serving, until
from tests.receiver import Receiver
from tests.service.notify.bringing import end_leases, stored
from tests.service.notify.test_formats import alertmanager, needs_alertmanager
from tests.service.notify.test_signature import NEW, text_of

SECRET = text_of(NEW)
ENV = {"VAEWATCH_NOTIFY_SECRET": SECRET}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


def records(n: int, *, odd: bool) -> bytes:
    rows = make_frame(n, seed=3).drop("order").to_dicts()
    if odd:
        rows = [{**row, "amount": 99_999.0} for row in rows]
    return json.dumps({"records": rows}).encode()


def post(live: Live, n: int, *, odd: bool) -> None:
    headers = {"content-type": "application/json"}
    assert live.post("/v1/score", content=records(n, odd=odd), headers=headers).is_success


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.long), "2"])
def test_an_attack_is_notified_and_normal_traffic_is_not(
    artifact_path: Path, tmp_path: Path, receiver: Receiver, workers: str
):
    options = ["--notify", receiver.url, "--notify-link", "https://watch.example"]
    options += ["--workers", workers, "--merge-gap", "3s"]
    if workers == "2":
        options += ["--store", f"sqlite:///{tmp_path}/store.sqlite"]
    with serving(artifact_path, *options, env=ENV) as live:
        until(lambda: "rare incidents are sent to webhook at 127.0.0.1" in live.said)
        gone = "notifications that wait are gone when the service stops" in live.said
        assert gone == (workers == "1")
        post(live, 300, odd=False)
        for _ in range(3):
            post(live, 50, odd=True)
        until(lambda: len(receiver.taken) >= 1)
        until(lambda: len(receiver.taken) >= 2, 30)
        sent = live.value("vaewatch_notifications_total", receiver="webhook", result="sent")
        assert sent == len(receiver.taken)
        assert live.value("vaewatch_notifications_waiting", receiver="webhook") == 0
        assert receiver.url not in live.said and SECRET not in live.said
    opened, *_, ended = (json.loads(each.body) for each in receiver.taken)
    assert (opened["type"], ended["type"]) == ("incident.opened", "incident.ended")
    incident = opened["data"]["incident"]
    assert incident["columns"][0]["name"] == "amount" and incident["alarms"] >= 50
    assert opened["data"]["model"]["name"] == artifact_path.name
    assert opened["data"]["link"] == f"https://watch.example/#incident={incident['id']}"
    assert "99999" not in receiver.taken[0].body.decode()
    for each in receiver.taken:
        Webhook(SECRET).verify(each.body, each.headers)


def test_a_service_that_is_killed_sends_what_waits_when_it_is_back(
    artifact_path: Path, tmp_path: Path, receiver: Receiver
):
    options = ["--notify", receiver.url, "--store", f"sqlite:///{tmp_path}/store.sqlite"]
    receiver.status = 503
    with serving(artifact_path, *options, env=ENV) as live:
        until(lambda: "rare incidents" in live.said)
        post(live, 100, odd=True)
        until(lambda: len(receiver.got) >= 1)
        live.process.send_signal(signal.SIGKILL)
        live.process.wait(10)
    assert not receiver.taken
    with stored(tmp_path) as database:
        end_leases(database)  # or it would take their thirty seconds
    receiver.status = 200
    with serving(artifact_path, *options, env=ENV):
        until(lambda: len(receiver.taken) == 1, 60)
    assert len({each.headers["webhook-id"] for each in receiver.got}) == 1


BAD = [
    (["--notify", "https://a.example"], {}, "a webhook must be signed"),
    (["--notify", "a.example"], ENV, "--notify must be http://HOST/PATH"),
    (["--notify", "https://a.example", "--notify-link", "x"], ENV, "--notify-link must be"),
    (["--notify", "https://a.example"], {"VAEWATCH_NOTIFY_SECRET": "x" * 40}, "must hold whsec_"),
]


@pytest.mark.parametrize(("words", "env", "text"), BAD)
def test_a_bad_receiver_is_refused_at_the_start(
    artifact_path: Path, words: list[str], env: dict[str, str], text: str
):
    done = run("serve", artifact_path, "--port", "0", *words, env={**os.environ, **env})
    assert done.returncode == 2 and text in done.stderr, done.stderr
    assert "listening" not in done.stderr and "x" * 40 not in done.stderr


def test_a_test_is_sent_to_each_receiver(receiver: Receiver, tmp_path: Path):
    path = tmp_path / "receivers"
    path.write_text(f"{receiver.url}\n{receiver.url}/slack\n")
    env = {**os.environ, **ENV, "VAEWATCH_NOTIFY_FILE": str(path)}
    env["VAEWATCH_NOTIFY_FORMAT"] = "webhook slack"
    done = run("notify", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "sent          webhook at 127.0.0.1, which answered 200",
        "sent          slack at 127.0.0.1, which answered 200",
    ]
    webhook, slack = receiver.taken
    assert Webhook(SECRET).verify(webhook.body, webhook.headers)["type"] == "incident.test"
    assert "is only a test" in json.loads(slack.body)["text"]


def test_a_test_that_does_not_arrive_fails_without_showing_the_address(receiver: Receiver):
    receiver.status, receiver.content = 404, b"no_service"
    done = run("notify", receiver.url, env={**os.environ, **ENV})
    assert done.returncode == 1
    assert done.stderr == "error: webhook at 127.0.0.1 refused it: 404, no_service.\n"
    done = run("notify", "http://127.0.0.1:9/hidden", env={**os.environ, **ENV})
    assert done.returncode == 1 and "Connection refused" in done.stderr
    assert "hidden" not in done.stderr
    done = run("notify", env={**os.environ, **ENV})
    assert done.returncode == 2 and "a URL must be given" in done.stderr


@needs_alertmanager
def test_a_real_alertmanager_takes_a_test(tmp_path: Path):
    with alertmanager(tmp_path) as running:
        done = run("notify", running.url, "--format", "alertmanager")
        assert done.returncode == 0, done.stderr
        (alert,) = running.alerts()
        assert alert["labels"]["alertname"] == "VaewatchTest"
