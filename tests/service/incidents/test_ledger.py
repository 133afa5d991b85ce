"""Many workers, one ledger: the same incidents as of one pass over all alarms."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from tests.postgres import Postgres, needs_postgres
from vaewatch.scoring.incidents.alarm import Alarm, Cause
from vaewatch.scoring.incidents.described import IncidentReport, report_of
from vaewatch.scoring.incidents.grouping import JUST, KEPT, Group, Rule
from vaewatch.scoring.incidents.rule import Kind, Rules
from vaewatch.service.feedback import marks
from vaewatch.service.feedback.marks import Said
from vaewatch.service.incidents import listing, patterns
from vaewatch.service.incidents.ending import GRACE, close_ended, forget_old
from vaewatch.service.incidents.ledger import CHANGED, ENDED, OPENED, Change, Ledger
from vaewatch.service.incidents.listing import KeptIncident, Query
from vaewatch.service.incidents.patterns import Author, Silence
from vaewatch.service.incidents.rows import group_of
from vaewatch.service.incidents.stream import Batch, Stream
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import POSTGRESQL, SQLITE, Place
from vaewatch.service.store.tables import METADATA, groups, ids, incidents

SECOND = 10**6
GAP = 160 * SECOND
RULES = Rules(Kind.ENTITY, True, Rule(GAP, True, 0.01, 0.02))
STREAM = Stream("a test", RULES)
START = 1_700_000_000 * SECOND
KINDS = [SQLITE, pytest.param(POSTGRESQL, marks=needs_postgres)]


@pytest.fixture(params=KINDS)
def database(
    request: pytest.FixtureRequest, postgresql: Postgres | None, tmp_path: Path
) -> Iterator[Database]:
    if request.param == POSTGRESQL:
        assert postgresql is not None
        place = Place.of(postgresql.url)
    else:
        place = Place.file(tmp_path / "it.sqlite")
    found = Database(place)
    yield found
    with found.writing() as connection:
        METADATA.drop_all(connection)
    found.close()


def alarm(seconds: float, group: str = "a", column: str = "x", severity: float = 2.0) -> Alarm:
    at = START + int(seconds * SECOND)
    return Alarm(at, group, severity, 10**-severity, (Cause(column, 1),), f"r{seconds}")


def take(
    database: Database, source: str, number: int, *alarms: Alarm, now: int = START
) -> list[Change]:
    records: dict[str, dict[int, int]] = defaultdict(dict)
    for each in alarms:
        bucket = RULES.rule.bucket(each.moment)
        records[each.group][bucket] = records[each.group].get(bucket, 0) + 1
    with database.writing(alone=True) as connection:
        return Ledger(connection, now).take(source, Batch(number, STREAM, alarms, records))


def every(database: Database, now: int = START, **asked: object) -> list[KeptIncident]:
    with database.reading() as connection:
        query = Query(limit=1_000, **asked)  # type: ignore[arg-type]
        return listing.page_of(connection, query, now).incidents


def random_stream(seed: int, n: int = 150) -> tuple[list[Alarm], dict[str, dict[int, int]]]:
    """Alarms of three groups and four columns, with pauses around the gap, and normal records."""
    rng = np.random.default_rng(seed)
    alarms, records = list[Alarm](), dict[str, dict[int, int]]()
    at = 0.0
    for _ in range(n):
        at += rng.exponential(40) if rng.random() < 0.9 else 200
        columns = rng.choice(list("wxyz"), rng.integers(1, 3), replace=False)
        causes = tuple(Cause(str(c), int(rng.integers(-1, 2))) for c in columns)
        group, severity = str(rng.choice(list("abc"))), float(rng.random() * 2 + 2)
        moment = START + int(at * SECOND)
        alarms.append(Alarm(moment, group, severity, 10**-severity, causes, f"r{len(alarms)}"))
        for name in "abc":
            bucket = RULES.rule.bucket(moment)
            more = int(rng.poisson(5)) + (name == group)
            if more:
                buckets = records.setdefault(name, {})
                buckets[bucket] = buckets.get(bucket, 0) + more
    return alarms, records


def of_one_pass(
    alarms: list[Alarm], records: dict[str, dict[int, int]]
) -> dict[str, IncidentReport]:
    found = {}
    for name in sorted({each.group for each in alarms}):
        group = Group()
        group.add(RULES.rule, [a for a in alarms if a.group == name], records[name])
        found |= {one.id: report_of(RULES, group, one) for one in group.incidents}
    return found


def batches_of(
    alarms: list[Alarm], records: dict[str, dict[int, int]], rng: np.random.Generator
) -> Iterator[tuple[list[Alarm], dict[str, dict[int, int]]]]:
    """Cut a stream in batches of random lengths, whose order is a little wrong."""
    order = np.argsort(np.arange(len(alarms)) + rng.normal(0, 5, len(alarms)))
    late = [alarms[i] for i in order]
    left = {name: dict(buckets) for name, buckets in records.items()}
    while late:
        n = int(rng.integers(1, 12))
        now, late = late[:n], late[n:]
        brought: dict[str, dict[int, int]] = {}
        for each in now:
            bucket = RULES.rule.bucket(each.moment)
            n_left = left[each.group].pop(bucket, 0)
            if n_left:
                brought.setdefault(each.group, {})[bucket] = n_left
        yield now, brought
    yield [], {name: buckets for name, buckets in left.items() if buckets}


@pytest.mark.parametrize("seed", [1, 2])
def test_workers_make_the_incidents_of_one_pass(database: Database, seed: int):
    alarms, records = random_stream(seed)
    rng = np.random.default_rng(seed)
    parts = list(batches_of(alarms, records, rng))
    numbers: dict[str, int] = defaultdict(int)
    for some, brought in parts:
        worker = str(rng.choice(["one", "two", "three"]))
        numbers[worker] += 1
        batch = Batch(numbers[worker], STREAM, some, brought)
        for _ in range(1 + (rng.random() < 0.2)):  # its worker does not learn that it was taken
            with database.writing(alone=True) as connection:
                Ledger(connection, START).take(worker, batch)
    expected, found = of_one_pass(alarms, records), every(database)
    assert {one.id for one in found} == expected.keys()
    for one in found:
        known = expected[one.id]
        assert (one.alarms, one.first, one.last) == (known.alarms, known.first, known.last)
        assert (one.columns, one.peak_severity) == (known.columns, known.peak_severity)
        assert one.examples == known.examples


def test_what_one_worker_brings_waits_for_the_alarms_of_another(database: Database):
    """Hours of a stream that is replayed come in one second, and the gaps between one worker's
    alarms are what the other's fill.
    """
    alarms = [alarm(150 * i) for i in range(200)]
    for worker in (0, 1):
        mine = alarms[worker::2]
        buckets = [RULES.rule.bucket(each.moment) for each in mine]
        records = {"a": dict.fromkeys(buckets, 1) | {bucket + 5: 1 for bucket in buckets}}
        with database.writing(alone=True) as connection:
            batch = Batch(1, STREAM, mine, records)
            Ledger(connection, START + worker * JUST * SECOND // 2).take(f"w{worker}", batch)
    [one] = every(database)
    assert (one.alarms, one.records) == (200, 399)  # the last record is after the last alarm
    take(database, "w0", 2, alarm(30_000), now=START + 2 * JUST * SECOND)
    with database.reading() as connection:
        kept = group_of(connection.execute(select(groups.c.state)).scalar_one())
    assert len(kept.records) <= KEPT + 1  # what came long ago is settled


def test_a_batch_that_comes_again_changes_nothing(database: Database):
    first = take(database, "one", 1, alarm(0), alarm(1))
    assert [change.what for change in first] == [OPENED]
    assert take(database, "one", 1, alarm(0), alarm(1)) == []
    assert [one.alarms for one in every(database)] == [2]
    more = take(database, "two", 1, alarm(2))
    assert [change.what for change in more] == [CHANGED]
    assert [one.alarms for one in every(database)] == [3]


def test_a_batch_of_many_incidents_gives_each_its_own_ids(database: Database):
    alarms = [alarm(300 * i, name) for i in range(120) for name in ("a", "b")]
    changes = take(database, "w1", 1, *alarms)
    again = take(database, "w1", 2, *[alarm(300 * i + 1) for i in range(120)])
    assert [one.what for one in changes + again] == [OPENED] * 240 + [CHANGED] * 120
    keys = {one.report.id: one.key for one in changes}
    assert keys | {one.report.id: one.key for one in again} == keys
    with database.reading() as connection:
        rows = {row.id: row.incident for row in connection.execute(select(ids))}
        kept = {id: listing.find(connection, id, START) for id in keys}
    assert rows == keys
    assert all(one is not None and one.id == id for id, one in kept.items())


def test_threads_that_deliver_at_once_open_one_incident(database: Database):
    def deliver(name: str) -> None:
        for number in range(1, 11):
            take(database, name, number, alarm(number))

    threads = [threading.Thread(target=deliver, args=(name,)) for name in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    [one] = every(database)
    assert (one.alarms, one.records) == (40, 40)


def test_an_alarm_in_between_makes_two_incidents_one_that_keeps_all_ids(database: Database):
    take(database, "one", 1, alarm(0), alarm(300))
    later, earlier = every(database)
    with database.writing(alone=True) as connection:
        marks.keep(connection, Said("confirmed", later.id, id="m"), Author(START, "eve"))
    assert [each.label for each in every(database)] == ["confirmed", None]
    take(database, "two", 1, alarm(150))
    [one] = every(database)
    assert (one.id, one.merged, one.alarms) == (earlier.id, (later.id,), 3)
    assert one.label == "confirmed"
    assert [mark.by for mark in one.marks] == ["eve"]
    with database.reading() as connection:
        assert listing.find(connection, later.id, START) == one
        asked = marks.Asked(incident=earlier.id)
        assert [mark.id for mark in marks.page_of(connection, asked).marks] == ["m"]


def test_an_alarm_before_the_first_one_gives_a_new_id_and_keeps_the_old_one(database: Database):
    take(database, "one", 1, alarm(100))
    [before] = every(database)
    take(database, "two", 1, alarm(50))
    [after] = every(database)
    assert after.id != before.id
    assert after.merged == (before.id,)
    with database.reading() as connection:
        assert listing.find(connection, before.id, START) == after


def test_a_very_late_alarm_joins_what_was_there_then(database: Database):
    take(database, "one", 1, alarm(0))
    for number in range(2, 72):
        take(database, "one", number, alarm(number * 400))
    take(database, "two", 1, alarm(20))
    first = every(database)[-1]
    assert (first.alarms, len(every(database))) == (2, 71)


def test_those_are_listed_that_are_so_rare_or_rarer(database: Database):
    take(database, "one", 1, alarm(0, "b"), *(alarm(i) for i in range(30)))
    rare, other = sorted(every(database), key=lambda one: one.chance)
    assert (rare.alarms, other.alarms) == (30, 1) and rare.chance < 0.01 < other.chance
    assert [one.id for one in every(database, chance=0.01)] == [rare.id]
    assert [one.id for one in every(database, chance=rare.chance)] == [rare.id]
    assert len(every(database, chance=1.0)) == 2


def test_what_a_pattern_expects_is_kept_apart_and_shown(database: Database):
    with database.writing(alone=True) as connection:
        silence = Silence(("x",), "a", 1, None, 3.0, START, START + 1000 * SECOND)
        name = patterns.make(connection, silence, Author(START, "eve", "a backup"))
    changes = take(database, "one", 1, alarm(0), alarm(1, severity=4.0), alarm(2), alarm(3, "b"))
    assert sorted(change.pattern for change in changes) == ["", "", name]
    muted, loud = every(database, muted=True), every(database, muted=False)
    assert [(one.alarms, one.muted, one.group.name) for one in muted] == [(2, name, "a")]
    assert sorted((one.alarms, one.group.name) for one in loud) == [(1, "a"), (1, "b")]
    with database.reading() as connection:
        [pattern] = patterns.listed(connection, START, active=True)
    assert (pattern.incidents, pattern.alarms, pattern.by) == (1, 2, "eve")
    take(database, "one", 2, alarm(2000))  # after its end
    assert len(every(database, muted=True)) == 1


@pytest.mark.parametrize(
    ("silence", "covered"),
    [
        (Silence(("x",)), True),
        (Silence(("y",)), False),
        (Silence(("x",), "b"), False),
        (Silence((), "a"), True),
        (Silence(("x",), direction=-1), False),
        (Silence(("x",), least=2.5), False),
        (Silence(("x",), most=1.5), False),
        (Silence(("x",), least=2.0, most=2.0), True),
    ],
)
def test_a_pattern_covers_what_it_names(silence: Silence, covered: bool):
    import msgspec

    timed = msgspec.structs.replace(silence, since=START, until=START + 10 * SECOND)
    assert timed.covers(alarm(0)) is covered
    assert not timed.covers(alarm(10))
    assert not timed.covers(alarm(-1))
    both = msgspec.structs.replace(alarm(0), causes=(Cause("x", 1), Cause("z", 0)))
    assert timed.covers(both) is (covered and not silence.columns)


def test_an_incident_ends_once_and_an_alarm_opens_it_again(database: Database):
    take(database, "one", 1, alarm(0))
    ends = START + GAP
    assert [one.ongoing for one in every(database, now=ends)] == [True]
    with database.writing(alone=True) as connection:
        assert close_ended(connection, ends + GRACE) == []
        assert [c.what for c in close_ended(connection, ends + GRACE + 1)] == [ENDED]
        assert close_ended(connection, ends + GRACE + 2) == []
    assert every(database, now=ends + 1, state="open") == []
    take(database, "one", 2, alarm(100), now=ends + GRACE)
    assert len(every(database, now=ends + 1, state="open")) == 1
    with database.writing(alone=True) as connection:
        ended = close_ended(connection, ends + 300 * SECOND)
    assert [change.seconds for change in ended] == [100.0]


def test_pages_follow_each_other_and_filters_narrow_them(database: Database):
    found = [alarm(400 * i, group=f"g{i % 3}", column="xy"[i % 2]) for i in range(25)]
    take(database, "one", 1, *found)
    seen, cursor = list[str](), None
    while True:
        with database.reading() as connection:
            page = listing.page_of(connection, Query(limit=10, cursor=cursor), START)
        seen += [one.first for one in page.incidents]
        if page.next is None:
            break
        cursor = listing.cursor_of(page.next)
    assert len(seen) == 25
    assert seen == sorted(seen, reverse=True)
    assert len(every(database, group="g1")) == 8
    assert len(every(database, column="y")) == 12
    assert len(every(database, since=START + 4000 * SECOND)) == 15
    assert len(every(database, until=START + 4000 * SECOND)) == 10
    assert len(every(database, label="none")) == 25


def test_old_incidents_go_but_those_with_feedback_stay(database: Database):
    take(database, "one", 1, alarm(0), alarm(1000))
    take(database, "one", 2, alarm(10**6), now=START + 10**6 * SECOND)
    with database.writing(alone=True) as connection:
        marks.keep(connection, Said("confirmed", every_id(connection)[1]), Author(START, None))
        close_ended(connection, START + 2 * 10**6 * SECOND)
        forget_old(connection, START + 5000 * SECOND, lasts=True)
    assert [one.label for one in every(database)] == [None, "confirmed"]
    with database.reading() as connection:
        assert len(list(connection.execute(select(groups)))) == 1


def every_id(connection: object) -> list[str]:
    query = select(incidents.c.id).order_by(incidents.c.first)
    return list(connection.execute(query).scalars())  # type: ignore[attr-defined]


def test_names_that_a_database_cannot_hold_are_no_fault(database: Database):
    take(database, "one", 1, alarm(0, group="a\0b"), alarm(1, group="é\u2028"))
    take(database, "one", 2, alarm(2, group="a\0b"))
    assert {one.group.name: one.alarms for one in every(database)} == {"a\0b": 2, "é\u2028": 1}
