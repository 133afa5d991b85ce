"""Incidents of a store -> notifications that wait, in SQLite and PostgreSQL."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, update

from tests.service.notify.bringing import GAP, MODEL, SECOND, START, Traffic, seconds
from vaewatch.service.incidents.ending import forget_old
from vaewatch.service.notify import announcer, outbox
from vaewatch.service.notify.announcer import Announcer, Style, holding
from vaewatch.service.notify.news import REST
from vaewatch.service.notify.notification import ENDED, OPENED, WORSENED, Notification
from vaewatch.service.notify.outbox import Letter
from vaewatch.service.notify.receiver import receivers_of
from vaewatch.service.store.database import Database
from vaewatch.service.store.tables import incidents, told

URLS = ("https://hooks.slack.com/services/1", "http://127.0.0.1:9093/api/v2/alerts")
LATER = START + 10**14
OVER = GAP / SECOND + 10  # seconds after its last alarm in which an incident ends


@dataclass
class Office:
    """One process of a service, as far as it looks for news. `looks` have a time each."""

    database: Database
    style: Style = Style(0.001)
    traffic: Traffic = field(init=False)

    def __post_init__(self) -> None:
        self.traffic = Traffic(self.database)
        self.receivers = receivers_of(URLS)
        self.slack, self.alertmanager = (each.address.key for each in self.receivers)
        self.announcer = Announcer(self.database, self.receivers, self.style, lambda: MODEL)

    def look(self, at: float) -> list[str]:
        """Look at a time; returns what has come, as the end of its type and its id."""
        before = {each.message for each in self.waiting()}
        self.announcer.look(seconds(at))
        new = [each for each in self.waiting() if each.message not in before]
        return [each.notification.type.removeprefix("incident.") for each in new]

    def waiting(self, receiver: str | None = None) -> list[Letter]:
        with self.database.reading() as connection:
            return outbox.due(connection, receiver or self.slack, LATER, 1000)

    def ids(self) -> list[str]:
        with self.database.reading() as connection:
            return list(connection.execute(select(incidents.c.id).order_by("first")).scalars())


@pytest.fixture
def office(database: Database) -> Office:
    found = Office(database)
    found.look(0)
    return found


def test_an_incident_that_chance_does_not_explain_is_announced_once(office: Office):
    office.traffic.bring(1, at=1)
    assert office.look(2) == []
    office.traffic.bring(30, at=3)
    assert office.look(4) == ["opened"]
    assert office.look(5) == []
    office.traffic.end(33 + OVER)
    assert office.look(34 + OVER) == ["ended"]
    assert office.look(35 + OVER) == []


def test_a_notification_says_what_happened(office: Office):
    office.traffic.bring(30, at=3)
    office.look(40)
    (letter,) = office.waiting()
    notification, (id,) = letter.notification, office.ids()
    assert letter.message == f"msg_{id}_1" and "." not in letter.message
    assert notification.type == OPENED and notification.timestamp == "2026-09-21T14:14:00.000Z"
    data = notification.data
    assert (data.id, data.model, data.link, data.merged_into) == (id, MODEL, None, None)
    report = data.incident
    assert (report.id, report.ongoing, report.alarms) == (id, True, 30)
    assert (report.group.kind, report.group.name) == ("entity", "m1")
    assert report.first == "2026-09-21T14:13:23Z" and report.chance < 0.001


def test_ids_of_records_go_out_only_where_that_is_allowed(database: Database):
    for allowed in (False, True):
        office = Office(database, Style(0.001, records=allowed, link="https://watch.example/"))
        office.look(0)
        office.traffic.bring(30, at=3 + 10_000 * allowed)
        office.look(40)
        notification = office.waiting()[-1].notification
        named = [example.record for example in notification.data.incident.examples]
        assert named == ["r0", "r1", "r2", "r3", "r4"] if allowed else named == [None] * 5
        assert notification.data.link == (
            f"https://watch.example/#incident={notification.data.id}"
        )


def test_every_receiver_gets_it_and_the_end_waits_where_it_must_settle(office: Office):
    office.traffic.bring(30, at=3)
    office.look(40)
    office.traffic.end(33 + OVER)
    office.look(34 + OVER)
    for receiver in (office.slack, office.alertmanager):
        assert [each.notification.type for each in office.waiting(receiver)] == [OPENED, ENDED]
    now = START + round((34 + OVER) * SECOND)
    with office.database.reading() as connection:
        due = {
            receiver: len(outbox.due(connection, receiver, now, 10))
            for receiver in (office.slack, office.alertmanager)
        }
    assert due == {office.slack: 2, office.alertmanager: 1}


def test_an_incident_that_grows_is_news_each_time_it_is_ten_times_as_large(office: Office):
    office.traffic.bring(20, at=0)
    assert office.look(21) == ["opened"]
    office.traffic.bring(150, at=21)
    assert office.look(172) == []
    office.traffic.bring(40, at=172)
    assert office.look(213) == ["worsened"]
    assert office.waiting()[-1].notification.type == WORSENED


def test_another_process_goes_on_where_one_was_killed(office: Office):
    office.traffic.bring(30, at=3)
    assert office.look(40) == ["opened"]
    other = Office(office.database)
    assert other.look(41) == []
    office.traffic.end(33 + OVER)
    assert other.look(34 + OVER) == ["ended"]
    assert office.look(35 + OVER) == []


def test_incidents_that_had_ended_before_the_first_look_are_no_news(database: Database):
    traffic = Traffic(database)
    traffic.bring(30, at=0, group="old")
    traffic.end(30 + OVER)
    traffic.bring(30, at=1000, group="open")
    office = Office(database)
    assert office.look(1040) == ["opened"]
    (letter,) = office.waiting()
    assert letter.notification.data.incident.group.name == "open"


def test_a_higher_limit_does_not_announce_what_is_over(office: Office):
    office.traffic.bring(2, at=0)
    office.traffic.end(OVER)
    assert office.look(OVER) == []
    assert Office(office.database, Style(1.0)).look(OVER + 1) == []
    office.traffic.bring(2, at=1000)
    assert Office(office.database, Style(1.0)).look(1003) == ["opened"]


def test_a_limit_of_zero_announces_nothing(database: Database):
    office = Office(database, Style(0.0))
    assert office.look(0) == []
    office.traffic.bring(300, at=0)
    assert office.look(310) == []


def test_records_that_come_late_are_announced_although_their_time_is_over(office: Office):
    office.traffic.bring(30, at=-10_000, now=0)
    office.traffic.end(0)
    assert office.look(1) == ["opened"]
    assert not office.waiting()[0].notification.data.incident.ongoing
    assert office.look(2) == ["ended"]
    office.traffic.bring(30, at=-9_970, now=3)
    assert office.look(3) == []
    rested = 3 + REST / SECOND
    assert office.look(rested) == ["opened"]
    assert office.look(rested + 1) == ["ended"]
    messages = [each.message for each in office.waiting()]
    assert len(set(messages)) == 4


def test_an_incident_that_only_later_is_beyond_chance_is_announced_although_it_is_over(
    office: Office,
):
    office.traffic.bring(1, at=-10_000)
    office.traffic.end(0)
    assert office.look(1) == []
    office.traffic.bring(30, at=-9_999, now=2)
    assert office.look(2) == ["opened"]


def test_later_looks_are_at_what_has_changed_and_at_what_is_open(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(announcer, "LOOKED_BACK", SECOND)
    office.traffic.bring(30, at=0)
    office.traffic.bring(1, at=0, group="m2")
    assert office.look(40) == ["opened"]
    assert office.look(5_000) == []
    office.traffic.end(5_001)
    assert office.look(5_001) == ["ended"]
    office.traffic.bring(30, at=1, group="m2", now=9_000)
    office.traffic.bring(30, at=30, now=9_000)
    assert office.look(9_000) == ["opened", "opened"]


def test_incidents_that_become_one_go_on_as_the_first_and_the_other_ends(office: Office):
    office.traffic.bring(30, at=0)
    office.traffic.bring(30, at=400)
    assert office.look(440) == ["opened", "opened"]
    first, second = office.ids()
    office.traffic.bring(1, at=200)
    assert office.look(441) == ["ended"]
    ended = office.waiting()[-1].notification
    assert (ended.data.id, ended.data.merged_into) == (second, first)
    office.traffic.end(430 + OVER)
    assert office.look(431 + OVER) == ["ended"]
    last = office.waiting()[-1].notification.data
    assert (last.id, last.merged_into, last.incident.alarms) == (first, None, 61)


def test_an_incident_keeps_its_id_in_messages_when_an_earlier_alarm_comes(office: Office):
    office.traffic.bring(30, at=100)
    office.look(140)
    (before,) = office.ids()
    office.traffic.bring(1, at=50)
    assert office.ids() != [before]
    office.traffic.end(130 + OVER)
    assert office.look(131 + OVER) == ["ended"]
    data = office.waiting()[-1].notification.data
    assert data.id == before and [data.incident.id] == office.ids()
    assert before in data.incident.merged


def test_incidents_that_a_pattern_silences_are_no_news(office: Office):
    office.traffic.bring(30, at=0)
    with office.database.writing() as connection:
        connection.execute(update(incidents).values(pattern="p"))
    assert office.look(40) == []


def test_an_incident_that_is_forgotten_ends(office: Office):
    office.traffic.bring(30, at=0)
    office.look(40)
    office.traffic.end(40 + OVER)
    with office.database.writing(alone=True) as connection:
        forget_old(connection, START + 10**13, lasts=True)
    assert office.look(50 + OVER) == ["ended"]
    Office(office.database, Style(0.01)).look(60 + OVER)
    with office.database.reading() as connection:
        assert connection.execute(select(told.c.id)).all() == []


def test_what_holds_is_what_has_opened_and_not_ended(office: Office):
    office.traffic.bring(30, at=0, group="m1")
    office.traffic.bring(30, at=500, group="m2")
    office.look(540)
    office.traffic.end(300 + 40)
    office.look(541)
    with office.database.reading() as connection:
        (found,) = holding(connection)
    assert found.data.incident.group.name == "m2"


def test_the_oldest_notifications_go_when_too_many_wait(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(outbox, "MOST", 3)
    for i in range(5):
        office.traffic.bring(30, at=0, group=f"m{i}")
    assert office.announcer.look(seconds(40)).lost == {office.slack: 2, office.alertmanager: 2}
    kept = [each.notification.data.incident.group.name for each in office.waiting()]
    assert kept == ["m2", "m3", "m4"]


def test_a_flood_of_news_is_announced_a_part_at_a_time(
    office: Office, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(announcer, "AT_A_TIME", 2)
    for i in range(5):
        office.traffic.bring(30, at=0, group=f"m{i}")
    assert [office.announcer.look(seconds(40)).more for _ in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    kept = [each.notification.data.incident.group.name for each in office.waiting()]
    assert kept == ["m0", "m1", "m2", "m3", "m4"]


def test_what_has_waited_for_days_is_dropped(office: Office):
    office.traffic.bring(30, at=0)
    office.look(40)
    now = START + outbox.MOST_AGE
    with office.database.writing() as connection:
        assert outbox.forget_old(connection, office.slack, now) == 0
        assert outbox.waiting(connection, office.slack, now).letters == 1
        assert outbox.forget_old(connection, office.slack, now + 41 * SECOND) == 1
        assert outbox.waiting(connection, office.slack, now).letters == 0


def test_what_waits_for_a_receiver_that_is_none_any_more_is_dropped_in_the_end(office: Office):
    office.traffic.bring(30, at=0)
    office.look(40)
    other = Office(office.database)
    other.announcer = Announcer(other.database, other.receivers[1:], other.style, lambda: MODEL)
    for days, left in ((2, 1), (4, 0)):
        other.traffic.bring(30, at=days * 86_400, group=f"m{days}")
        other.announcer.look(seconds(days * 86_400 + 40))
        assert len(office.waiting(office.slack)) == left


def test_a_notification_is_read_as_it_was_written(office: Office):
    office.traffic.bring(30, at=0)
    office.look(40)
    notification = office.waiting()[0].notification
    assert Notification.decoded(notification.encoded()) == notification
    assert re.fullmatch(rb'\{"type":"incident.opened","timestamp":.*\}', notification.encoded())
