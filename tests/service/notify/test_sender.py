"""Notifications that wait -> real receivers: retried, once or more, by one process at a time."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook

from tests.live import until
from tests.postgres import needs_postgres, postgres
from tests.receiver import Received, Receiver
from tests.service.notify.bringing import GAP, MODEL, SECOND, Traffic, end_leases
from tests.service.notify.test_formats import alertmanager, free_port, needs_alertmanager
from tests.service.notify.test_signature import NEW, text_of
from vaewatch.service.model.errors import StoreAway
from vaewatch.service.notify import announcer, notifier, outbox, sender
from vaewatch.service.notify.announcer import Style
from vaewatch.service.notify.formats import choice
from vaewatch.service.notify.lease import Lease
from vaewatch.service.notify.notifier import Notifier
from vaewatch.service.notify.receiver import receivers_of
from vaewatch.service.notify.sender import Patience
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import Place
from vaewatch.service.store.tables import incidents
from vaewatch.service.watch.families.notifications import NotificationSeries

QUICK = Patience(first=0.02, longest=0.1, longest_refused=0.3)


@dataclass
class Office:
    """One process of a service, with threads that look and send."""

    place: Place
    urls: Sequence[str]
    format: str = "webhook"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.database = Database(self.place)
        self.receivers = receivers_of(self.urls, [self.format], (NEW,))
        series = NotificationSeries(self.registry, "vaewatch")
        self.notifier = Notifier(
            self.database, self.receivers, Style(0.001), lambda: MODEL, series, QUICK
        )

    def count(self, result: str, receiver: str = "webhook") -> float:
        labels = {"receiver": receiver, "result": result}
        return self.registry.get_sample_value("vaewatch_notifications_total", labels) or 0.0

    def value(self, name: str, receiver: str = "webhook") -> float | None:
        return self.registry.get_sample_value(f"vaewatch_{name}", {"receiver": receiver})


@contextmanager
def at_work(place: Place, *urls: str, format: str = "webhook") -> Iterator[Office]:
    office = Office(place, urls, format)
    office.notifier.start()
    try:
        yield office
    finally:
        office.notifier.close()
        office.database.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sender, notifier):
        for name in ("PAUSE", "OTHERS"):
            monkeypatch.setattr(module, name, 0.02)


@pytest.fixture
def traffic(place: Place) -> Iterator[Traffic]:
    database = Database(place)
    with database.writing(alone=True):
        pass
    yield Traffic(database, live=True)
    database.close()


def begun(office: Office, traffic: Traffic) -> None:
    """Wait for the first look, so that what comes next is news."""
    until(lambda: _has_begun(traffic.database))


def _has_begun(database: Database) -> bool:
    with database.reading() as connection:
        return announcer._is_begun(connection, Style(0.001))


def types(got: Sequence[Received]) -> list[str]:
    return [json.loads(each.body)["type"].removeprefix("incident.") for each in got]


def names(got: Sequence[Received]) -> list[str]:
    return [json.loads(each.body)["data"]["incident"]["group"]["name"] for each in got]


def test_an_incident_arrives_signed_and_so_does_its_end(place: Place, traffic: Traffic):
    with Receiver().running() as receiver, at_work(place, receiver.url) as office:
        begun(office, traffic)
        traffic.bring(30, at=0)
        until(lambda: len(receiver.taken) == 1)
        traffic.end(30 + GAP / SECOND + 10)
        until(lambda: len(receiver.taken) == 2)
        assert types(receiver.taken) == ["opened", "ended"]
        for each in receiver.taken:
            Webhook(text_of(NEW)).verify(each.body, each.headers)
        ids = [each.headers["webhook-id"] for each in receiver.taken]
        assert len(set(ids)) == 2
        until(lambda: office.count("sent") == 2)
        assert office.count("failed") == 0
        with traffic.database.reading() as connection:
            when = connection.execute(select(incidents.c.notified)).scalar_one()
        assert abs(when / SECOND - time.time()) < 60
        until(lambda: office.value("notifications_waiting") == 0)


def test_a_receiver_that_is_down_gets_all_of_it_in_order_when_it_is_back(
    place: Place,
    traffic: Traffic,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    receiver = Receiver()
    with receiver.running():
        pass  # it has a port now, at which nobody listens
    caplog.set_level(logging.INFO, "vaewatch.service")
    monkeypatch.setattr(logging.getLogger("vaewatch"), "propagate", True)
    with at_work(place, receiver.url) as office:
        begun(office, traffic)
        for i in range(20):
            traffic.bring(30, at=0, group=f"m{i:02}")
        until(lambda: office.value("notifications_waiting") == 20)
        traffic.end(30 + GAP / SECOND + 10)
        until(lambda: office.count("failed") > 5)
        until(lambda: office.value("notifications_waiting") == 40)
        assert (office.value("notifications_oldest_seconds") or 0) > 0
        with receiver.running():
            until(lambda: len(receiver.taken) == 40)
    assert types(receiver.taken) == ["opened"] * 20 + ["ended"] * 20
    assert names(receiver.taken)[:20] == sorted(names(receiver.taken)[:20])
    assert len({each.headers["webhook-id"] for each in receiver.taken}) == 40
    said = [record.getMessage() for record in caplog.records]
    failed = [line for line in said if "failed and is sent again" in line]
    assert failed == [
        "a notification to webhook at 127.0.0.1 failed and is sent again: Connection refused"
    ]
    assert "notifications to webhook at 127.0.0.1 arrive again" in said
    assert "hook" not in "".join(said).replace("webhook", "")


def test_each_attempt_has_the_same_id_and_a_timestamp_of_its_own(place: Place, traffic: Traffic):
    with Receiver(statuses=[500, 503, 429]).running() as receiver:
        with at_work(place, receiver.url) as office:
            begun(office, traffic)
            traffic.bring(30, at=0)
            until(lambda: len(receiver.taken) == 1)
    assert len({each.headers["webhook-id"] for each in receiver.got}) == 1
    assert len({each.body for each in receiver.got}) == 1 and len(receiver.got) == 4
    for each in receiver.got:
        Webhook(text_of(NEW)).verify(each.body, each.headers)


def test_a_message_that_is_refused_does_not_hold_up_the_others(place: Place, traffic: Traffic):
    with Receiver(statuses=[400] * 3).running() as receiver:
        with at_work(place, receiver.url) as office:
            begun(office, traffic)
            for i in range(5):
                traffic.bring(30, at=0, group=f"m{i}")
            until(lambda: len(receiver.taken) == 5)
            assert office.count("failed") == 3
    assert sorted(names(receiver.taken)) == [f"m{i}" for i in range(5)]


def test_a_receiver_that_asks_for_time_gets_it(place: Place, traffic: Traffic):
    with Receiver(statuses=[503], headers={"retry-after": "1"}).running() as receiver:
        with at_work(place, receiver.url) as office:
            begun(office, traffic)
            traffic.bring(30, at=0)
            until(lambda: len(receiver.taken) == 1)
    first, second = (each.at for each in receiver.got)
    assert second - first >= 1


def test_a_receiver_that_hangs_does_not_hold_up_another(place: Place, traffic: Traffic):
    hangs = Receiver(delay=5).running(timeout_graceful_shutdown=0)  # the end waits for no answer
    with hangs as slow, Receiver().running() as quick:
        with at_work(place, slow.url, quick.url) as office:
            begun(office, traffic)
            traffic.bring(30, at=0)
            until(lambda: len(quick.taken) == 1, 4)
            assert not slow.taken


def test_of_several_processes_one_sends(place: Place, traffic: Traffic):
    with Receiver().running() as receiver:
        with at_work(place, receiver.url) as one, at_work(place, receiver.url) as other:
            begun(one, traffic)
            for i in range(10):
                traffic.bring(30, at=0, group=f"m{i}")
            until(lambda: len(receiver.taken) == 10)
            time.sleep(0.3)
            assert sorted((one.count("sent"), other.count("sent"))) == [0, 10]
        assert len(receiver.got) == 10


def test_another_process_goes_on_at_once_when_one_stops(place: Place, traffic: Traffic):
    with Receiver().running() as receiver:
        with at_work(place, receiver.url) as one:
            begun(one, traffic)
            with at_work(place, receiver.url) as other:
                one.notifier.close()
                traffic.bring(30, at=0)
                until(lambda: len(receiver.taken) == 1, 5)
                until(lambda: other.count("sent") == 1, 5)


def test_slack_gets_one_message_of_many(place: Place, traffic: Traffic):
    receiver = Receiver()
    with receiver.running():
        pass
    with at_work(place, receiver.url, format="slack") as office:
        begun(office, traffic)
        for i in range(12):
            traffic.bring(30, at=0, group=f"m{i}")
        until(lambda: office.value("notifications_waiting", "slack") == 12)
        with receiver.running():
            until(lambda: office.count("sent", "slack") == 12)
    (message,) = receiver.taken
    header = json.loads(message.body)["blocks"][0]["text"]["text"]
    assert header == "Incidents: 12 opened"


def test_what_was_sent_is_not_sent_again_when_the_store_was_away(
    place: Place, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
):
    """The process remembers it until the store has it."""
    failing = [StoreAway("it is away")] * 3

    def remove(*words: Any) -> None:
        if failing:
            raise failing.pop()
        removed(*words)

    removed = outbox.remove
    monkeypatch.setattr(outbox, "remove", remove)
    monkeypatch.setattr(notifier, "AWAY", 0.02)
    with Receiver().running() as receiver, at_work(place, receiver.url) as office:
        begun(office, traffic)
        traffic.bring(30, at=0)
        until(lambda: not failing and office.value("notifications_waiting") == 0)
        assert len(receiver.got) == 1


def test_a_lease_is_held_by_one_until_its_time_is_over(place: Place, database: Database):
    one, other = (Lease(database, "it", holder, seconds=0.5) for holder in ("a", "b"))
    assert one.held() and not other.held()
    assert one.held()
    until(other.held, 5)
    assert not one.held()
    other.release()
    assert one.held()


def test_many_that_want_a_lease_at_one_time_find_one_holder(place: Place):
    databases = [Database(place) for _ in range(6)]
    with databases[0].writing(alone=True):
        pass
    found = list[bool]()
    threads = [
        threading.Thread(target=lambda d=d, i=i: found.append(Lease(d, "it", str(i)).held()))
        for i, d in enumerate(databases)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == [False] * 5 + [True]
    for database in databases:
        database.close()


KILLED = """
import sys, time
from tests.service.notify import test_sender as it
from vaewatch.service.store.place import Place
for module in (it.sender, it.notifier):
    module.PAUSE = module.OTHERS = 0.02
office = it.Office(Place.of(sys.argv[1]), sys.argv[2:])
office.notifier.start()
print("started", flush=True)
time.sleep(600)
"""


@contextmanager
def process(place: Place, url: str) -> Iterator[subprocess.Popen[str]]:
    """A process with an office of its own, to be killed."""
    shown = place.url.set(drivername=place.kind).render_as_string(hide_password=False)
    command = [sys.executable, "-c", KILLED, shown, url]
    root = Path(__file__).parents[3]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    try:
        assert started.stdout is not None and started.stdout.readline() == "started\n"
        yield started
    finally:
        started.kill()
        started.communicate()


def test_nothing_is_lost_when_the_sender_is_killed_again_and_again(
    place: Place, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
):
    """Each process is killed while the receiver answers slowly, or not at all."""
    with Receiver(delay=0.05).running() as receiver:
        for round in range(2):
            receiver.statuses = [500] * 2
            with process(place, receiver.url) as running:
                until(lambda: _has_begun(traffic.database))
                for i in range(5):
                    traffic.bring(30, at=0, group=f"m{round}-{i}")
                receiver.got.clear()
                until(lambda: len(receiver.got) >= 3)
                running.send_signal(signal.SIGKILL)
                running.wait(10)
            end_leases(traffic.database)
        with at_work(place, receiver.url) as office:
            until(lambda: office.value("notifications_waiting") == 0)
            until(lambda: len(set(names(receiver.taken))) == 10)
    sent = [each.headers["webhook-id"] for each in receiver.taken]
    assert len(set(sent)) == 10
    assert len(sent) <= 10 + 2  # of one that was under way at each kill


@needs_postgres
def test_nothing_is_lost_when_the_store_crashes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(notifier, "AWAY", 0.05)
    with postgres() as own, Receiver(delay=0.05).running() as receiver:
        place = Place.of(own.url)
        traffic = Traffic(Database(place), live=True)
        with at_work(place, receiver.url) as office:
            begun(office, traffic)
            for i in range(10):
                traffic.bring(30, at=0, group=f"m{i}")
            until(lambda: len(receiver.got) >= 2)
            own.stop(signal.SIGQUIT)
            until(lambda: office.database.away)
            own.start()
            office.database.probe()
            until(lambda: len(set(names(receiver.taken))) == 10)
            until(lambda: office.value("notifications_waiting") == 0)
        traffic.database.close()
    assert len({each.headers["webhook-id"] for each in receiver.taken}) == 10


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Alertmanager settle within a second, and hear again of what holds."""
    quick = replace(choice.OF["alertmanager"], settle=1.0, repeat=0.2)
    monkeypatch.setitem(choice.OF, "alertmanager", quick)


@needs_alertmanager
def test_alertmanager_notifies_of_an_incident_that_was_over_when_it_came_back(
    place: Place, traffic: Traffic, tmp_path: Path, soon: None
):
    """Alertmanager says nothing of an alert that has ended when it first hears of it."""
    with Receiver().running() as pager, ExitStack() as stack:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        office = stack.enter_context(at_work(place, url, format="alertmanager"))
        begun(office, traffic)
        traffic.bring(30, at=0)
        until(lambda: office.value("notifications_waiting", "alertmanager") == 1)
        traffic.end(30 + GAP / SECOND + 10)
        until(lambda: office.count("failed", "alertmanager") > 2)
        stack.enter_context(alertmanager(tmp_path, pager.url, port))
        until(lambda: len(pager.taken) == 2, 30)
    assert [json.loads(each.body)["status"] for each in pager.taken] == ["firing", "resolved"]


@needs_alertmanager
def test_alertmanager_hears_again_of_what_holds_after_it_has_lost_all(
    place: Place, traffic: Traffic, tmp_path: Path, soon: None
):
    port = free_port()
    with at_work(place, f"http://127.0.0.1:{port}", format="alertmanager") as office:
        begun(office, traffic)
        traffic.bring(30, at=0)
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            with alertmanager(tmp_path / name, port=port) as running:
                until(lambda: len(running.alerts()) == 1)
