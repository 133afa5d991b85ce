"""Bodies as receivers want them: by the models of Slack's SDK, and a real Alertmanager."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs
from slack_sdk.models.blocks import Block

from tests.live import until
from vaewatch.scoring.incidents.described import ColumnShare, GroupName
from vaewatch.scoring.incidents.rule import Kind
from vaewatch.service.notify import words
from vaewatch.service.notify.address import Address
from vaewatch.service.notify.formats.alertmanager import alerts
from vaewatch.service.notify.formats.slack import message
from vaewatch.service.notify.formats.webhook import event
from vaewatch.service.notify.notification import (
    ENDED,
    OPENED,
    TEST,
    WORSENED,
    Notification,
    example,
    stamp,
)
from vaewatch.service.notify.post import post

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
LINK = "https://watch.example/#incident=0"
MARKUP = "<!channel> & `*x*`"


def made(type: str = OPENED, name: str = "NL", id: str = "0" * 12, **changes: Any) -> Notification:
    """A notification of an incident in a segment, with other members of its report."""
    given = example(LINK, time.time())
    report = structs.replace(given.data.incident, group=GroupName(Kind.SEGMENT, name), **changes)
    return structs.replace(
        given, type=type, data=structs.replace(given.data, id=id, incident=report)
    )


def test_a_webhook_is_the_notification_itself():
    notification = made()
    body = json.loads(event([notification], 0.0))
    assert list(body) == ["type", "timestamp", "data"]
    assert body["type"] == OPENED and body["data"]["incident"]["group"]["name"] == "NL"
    assert event([notification], 0.0) == event([notification], 9.0)


def blocks_of(body: bytes) -> list[Block]:
    """The blocks of a message, each checked against the limits that Slack documents."""
    content = json.loads(body)
    assert set(content) == {"text", "blocks"} and content["text"]
    assert len(content["blocks"]) <= 50
    blocks = [Block.parse(block) for block in content["blocks"]]
    for block, given in zip(blocks, content["blocks"], strict=True):
        assert block is not None
        block.validate_json()
        assert json.loads(json.dumps(block.to_dict())) == given
    return [block for block in blocks if block is not None]


LONG = "ж" * 500


@pytest.mark.parametrize(
    "notifications",
    [
        [made()],
        [made(type) for type in (OPENED, WORSENED, ENDED, TEST)],
        [made(name=LONG, columns=tuple(ColumnShare(LONG, 1, 1, 0) for _ in range(10)))],
        [made(name=LONG, columns=tuple(ColumnShare(LONG, 1, 1, 0) for _ in range(10)))] * 50,
        [made(name="", first=1, last=2, alarms=1, records=1, chance=1.0, columns=())],
    ],
    ids=["one", "one of each", "long names", "fifty", "little known"],
)
def test_slack_accepts_a_message(notifications: list[Notification]):
    blocks = blocks_of(message(notifications, 0.0))
    assert blocks[0].to_dict()["text"]["type"] == "plain_text"


def marked_texts(given: Any) -> list[str]:
    """The texts of a message in which Slack looks for markup."""
    if isinstance(given, list):
        return [text for each in given for text in marked_texts(each)]
    if not isinstance(given, dict):
        return []
    if given.get("type") == "mrkdwn":
        return [given["text"]]
    return marked_texts(list(given.values()))


def test_a_name_is_no_markup_in_slack():
    column = ColumnShare(MARKUP, 1.0, 1.0, 0.0)
    for several in (1, 2):
        content = json.loads(message([made(name=MARKUP, columns=(column,))] * several, 0.0))
        texts = "\n".join([*marked_texts(content["blocks"]), content["text"]])
        assert "<!channel>" not in texts and "&lt;!channel&gt; &amp;" in texts


def test_a_name_neither_breaks_nor_turns_a_line():
    notification = made(name="a\nb\u202ec\x00")
    assert words.title(notification) == "Incident opened in segment 'a b c '"
    blocks_of(message([notification], 0.0))


def test_a_message_of_several_counts_them_and_names_the_first():
    several = [made(id=f"{i:012x}") for i in range(30)] + [made(ENDED)] * 3
    header, section = (block.to_dict() for block in blocks_of(message(several, 0.0)))
    assert header["text"]["text"] == "Incidents: 30 opened, 3 ended"
    assert section["text"]["text"].endswith("and 23 more")


def test_words_say_where_how_many_and_how_rare():
    notification = made(alarms=1234, records=5678, expected=56.78, chance=2.3e-5)
    report = notification.data.incident
    assert words.title(notification) == "Incident opened in segment 'NL'"
    assert words.alarms(report) == "1,234 alarms in 5,678 records, 57 expected"
    assert words.chance(report) == "at most 1 in 43,000"
    assert words.columns(report) == "amount (above)"
    merged = structs.replace(notification.data, merged_into="abc")
    ended = structs.replace(notification, type=ENDED, data=merged)
    assert words.title(ended) == "Incident ended in segment 'NL': a part of abc now"
    everything = structs.replace(report, group=GroupName(Kind.ALL, ""))
    assert words.where(everything) == ""


needs_alertmanager = pytest.mark.skipif(
    ALERTMANAGER is None, reason="prometheus-alertmanager is not installed"
)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Alertmanager:
    """A real one on a free loopback port, which notifies a webhook of what it is sent."""

    def __init__(self, url: str) -> None:
        self.url = url

    def alerts(self) -> list[dict[str, Any]]:
        query = {"active": "true", "silenced": "true", "inhibited": "true"}
        found = httpx.get(f"{self.url}/api/v2/alerts", params=query, timeout=10)
        return list(found.json())


CONFIG = """
route: {receiver: hook, group_by: [incident], group_wait: 100ms, group_interval: 1s}
receivers: [{name: hook, webhook_configs: [{url: "%s"}]}]
"""


@contextmanager
def alertmanager(
    folder: Path, hook: str = "http://127.0.0.1:9/", port: int | None = None
) -> Iterator[Alertmanager]:
    assert ALERTMANAGER is not None
    (folder / "config.yml").write_text(CONFIG % hook)
    address = f"127.0.0.1:{port or free_port()}"
    words = [ALERTMANAGER, f"--config.file={folder}/config.yml", f"--storage.path={folder}/data"]
    words += [f"--web.listen-address={address}", "--cluster.listen-address="]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            url = f"http://{address}"
            until(lambda: _is_ready(url))
            yield Alertmanager(url)
        finally:
            process.terminate()
            process.wait(10)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    with alertmanager(tmp_path_factory.mktemp("alertmanager")) as found:
        yield found


def send(running: Alertmanager, *notifications: Notification) -> None:
    address = Address.of(running.url, "alertmanager")
    answer = post(address, alerts(notifications, time.time()), {})
    assert answer.taken, str(answer)


@needs_alertmanager
def test_alertmanager_holds_an_incident_until_it_ends(running: Alertmanager):
    send(running, made(id="a" * 12), made(id="b" * 12, name="DE"))
    found = {alert["labels"]["incident"]: alert for alert in running.alerts()}
    alert = found["a" * 12]
    assert alert["labels"] == {
        "alertname": "VaewatchIncidentOpen",
        "incident": "a" * 12,
        "model": "example",
        "segment": "NL",
        "severity": "page",
    }
    assert alert["status"]["state"] == "active" or alert["status"]["state"] == "unprocessed"
    assert alert["annotations"]["summary"] == "Incident opened in segment 'NL'"
    assert alert["generatorURL"] == LINK
    ahead = _unix(alert["endsAt"]) - time.time()
    assert 290 < ahead < 301
    send(running, made(ENDED, id="a" * 12))
    until(lambda: "a" * 12 not in {a["labels"]["incident"] for a in running.alerts()})
    assert "b" * 12 in {a["labels"]["incident"] for a in running.alerts()}


@needs_alertmanager
@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": MARKUP + '"\n\\'},
        {"name": LONG},
        {"first": 17, "last": 20},
        {"first": "2999-01-01T00:00:00Z"},
        {"first": "2020-01-01T00:00:00+01:00"},
        {"chance": 1e-300},
    ],
    ids=["no group", "markup", "long", "no time", "clock ahead", "old", "rare"],
)
def test_alertmanager_takes_what_is_odd(running: Alertmanager, changes: dict[str, Any]):
    for type in (OPENED, ENDED):
        send(running, made(type, id="c" * 12, **changes))


@needs_alertmanager
def test_a_test_is_an_alert_of_its_own(running: Alertmanager):
    send(running, example(None, time.time()))
    names = {alert["labels"]["alertname"] for alert in running.alerts()}
    assert "VaewatchTest" in names


@needs_alertmanager
def test_alertmanager_refuses_a_body_that_is_none_of_its_own(running: Alertmanager):
    address = Address.of(running.url, "alertmanager")
    answer = post(address, b"{}", {})
    assert answer.status == 400 and answer.refused and answer.words


def _unix(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_a_time_is_spelt_in_utc():
    assert stamp(1_790_000_000.5) == "2026-09-21T14:13:20.500Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", stamp(time.time()))
