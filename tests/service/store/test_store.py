"""The store: SQLite and a real PostgreSQL, away and back, old and new."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select, text, update

from tests.postgres import Postgres, needs_postgres, postgres
from vaewatch.scoring.errors import SettingError
from vaewatch.service.model.errors import NotStorable, StoreAway, StoreBusy
from vaewatch.service.store import database as module
from vaewatch.service.store import desk
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import MEMORY, POSTGRESQL, SQLITE, Place
from vaewatch.service.store.tables import METADATA, incidents, marks, numbers, sources
from vaewatch.service.store.upsert import insert_new, upsert
from vaewatch.service.store.versions import STEPS, VERSION, bring_up_to_date, version_of

NEWEST = len(STEPS) + 1
KINDS = [MEMORY, SQLITE, pytest.param(POSTGRESQL, marks=needs_postgres)]


@pytest.fixture(params=KINDS)
def database(
    request: pytest.FixtureRequest, postgresql: Postgres | None, tmp_path: Path
) -> Iterator[Database]:
    if request.param == POSTGRESQL:
        assert postgresql is not None
        place = Place.of(postgresql.url)
    else:
        place = Place.of(f"sqlite:///{tmp_path}/it.sqlite" if request.param == SQLITE else None)
    found = Database(place)
    yield found
    with found.writing() as connection:
        METADATA.drop_all(connection)
    found.close()


def names_in(database: Database) -> list[str]:
    with database.reading() as connection:
        return list(connection.execute(select(sources.c.name).order_by("name")).scalars())


def test_what_is_committed_stays_and_what_fails_does_not(database: Database):
    with database.writing() as connection:
        connection.execute(insert(sources).values(name="a", number=1, at=0))
    with pytest.raises(ZeroDivisionError), database.writing(alone=True) as connection:
        connection.execute(insert(sources).values(name="b", number=1, at=0))
        raise ZeroDivisionError
    assert names_in(database) == ["a"]
    assert not database.away


def test_rows_that_are_there_are_changed_or_left(database: Database):
    with database.writing() as connection:
        upsert(connection, sources, [{"name": "a", "number": 1, "at": 0}])
        rows = [{"name": "a", "number": 2, "at": 5}, {"name": "b", "number": 1, "at": 0}]
        upsert(connection, sources, rows)
        assert not insert_new(connection, sources, {"name": "b", "number": 9, "at": 9})
        assert insert_new(connection, sources, {"name": "c", "number": 9, "at": 9})
        found = connection.execute(select(sources.c.number).order_by("name")).scalars()
        assert list(found) == [2, 1, 9]


def test_threads_that_are_alone_take_turns(database: Database):
    with database.writing() as connection:
        connection.execute(insert(sources).values(name="a", number=0, at=0))

    def count() -> None:
        for _ in range(20):
            with database.writing(alone=True) as connection:
                n = connection.execute(select(sources.c.number)).scalar()
                connection.execute(update(sources).values(number=n + 1))

    threads = [threading.Thread(target=count) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    with database.reading() as connection:
        assert connection.execute(select(sources.c.number)).scalar() == 60


@pytest.mark.parametrize("kind", KINDS[1:])
def test_one_that_others_keep_busy_is_not_away(
    kind: str,
    postgresql: Postgres | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """What only reads goes on, and so does the next one that writes."""
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(module, "STATEMENT_SECONDS", 1)
    url = f"sqlite:///{tmp_path}/it.sqlite"
    if kind == POSTGRESQL:
        assert postgresql is not None
        url = postgresql.url
    place = Place.of(url)
    one, other = Database(place), Database(place)
    assert names_in(other) == []
    with one.writing(alone=True) as connection:
        connection.execute(insert(sources).values(name="a", number=1, at=0))
        with pytest.raises(StoreBusy, match="others write into it"):
            with other.writing(alone=True):
                pass
        assert not other.away
        assert names_in(other) == []
    with other.writing(alone=True) as connection:
        connection.execute(insert(sources).values(name="b", number=1, at=0))
    assert names_in(one) == ["a", "b"]
    with one.writing() as connection:
        METADATA.drop_all(connection)
    one.close()
    other.close()


def test_both_kinds_have_the_same_tables_and_indices(postgresql: Postgres | None, tmp_path: Path):
    places = [Place.of(f"sqlite:///{tmp_path}/it.sqlite")]
    places += [] if postgresql is None else [Place.of(postgresql.url)]
    found = []
    for place in places:
        database = Database(place)
        with database.reading() as connection:
            seen = inspect(connection)
            shape = {
                table: (
                    sorted((c["name"], c["nullable"]) for c in seen.get_columns(table)),
                    sorted(str(index["name"]) for index in seen.get_indexes(table)),
                )
                for table in METADATA.tables
            }
        found.append(shape)
        database.close()
    assert all(shape.keys() == METADATA.tables.keys() for shape in found)
    assert found[0] == found[-1] or [len(s) for s in found] == [len(found[0])] * 2


def test_older_tables_are_brought_up_to_date_once(database: Database):
    done = []

    def step(connection: object) -> None:
        done.append("a step")

    with database.writing() as connection:
        assert version_of(connection) == NEWEST
        for _ in range(2):
            bring_up_to_date(connection, [*STEPS, step])
        assert version_of(connection) == NEWEST + 1
        assert done == ["a step"]
        connection.execute(update(numbers).where(numbers.c.name == VERSION).values(value=NEWEST))


def test_the_tables_of_the_first_release_get_what_they_lack(database: Database):
    with database.writing() as connection:
        for table in (incidents, marks):
            connection.execute(text(f"ALTER TABLE {table.name} DROP COLUMN kind"))
        connection.execute(update(numbers).where(numbers.c.name == VERSION).values(value=1))
        bring_up_to_date(connection)
        assert version_of(connection) == NEWEST
        for table in (incidents, marks):
            names = {column["name"] for column in inspect(connection).get_columns(table.name)}
            assert names == {column.name for column in table.columns}


def test_tables_of_a_later_release_are_left_alone(tmp_path: Path):
    place = Place.file(tmp_path / "it.sqlite")
    database = Database(place)
    with database.writing() as connection:
        connection.execute(update(numbers).values(value=7))
    again = Database(place)
    with pytest.raises(StoreAway):
        again.probe()
    assert again.fault.startswith(f"the store must have tables of version {NEWEST} or less, got 7")
    for each in (database, again):
        each.close()


def test_the_journal_of_sqlite_is_small_again_after_a_large_change(tmp_path: Path):
    found = Database(Place.of(f"sqlite:///{tmp_path}/it.sqlite"))
    with found.writing() as connection:
        rows = [{"name": f"{i:01000}", "number": i, "at": 0} for i in range(20_000)]
        connection.execute(insert(sources), rows)
    journal = tmp_path / "it.sqlite-wal"
    assert journal.stat().st_size > 20_000_000
    for name in "ab":
        with found.writing() as connection:
            connection.execute(insert(sources).values(name=name, number=1, at=0))
    assert journal.stat().st_size < 5_000_000
    found.close()


def test_a_process_that_is_killed_leaves_whole_transactions(tmp_path: Path):
    code = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import insert
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import Place
from vaewatch.service.store.tables import sources
database = Database(Place.file(Path(sys.argv[1])))
with database.writing() as connection:
    connection.execute(insert(sources).values(name="kept", number=1, at=0))
with database.writing() as connection:
    connection.execute(insert(sources).values(name="half", number=1, at=0))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "it.sqlite"
    done = subprocess.run([sys.executable, "-c", code, path])
    assert done.returncode == -signal.SIGKILL
    database = Database(Place.file(path))
    assert names_in(database) == ["kept"]
    database.close()


@needs_postgres
def test_a_server_that_stops_is_away_until_a_probe_finds_it(caplog: pytest.LogCaptureFixture):
    with postgres() as own:
        database = Database(Place.of(own.url))
        assert names_in(database) == []
        own.stop()
        with caplog.at_level(logging.WARNING, "vaewatch.service"):
            logging.getLogger("vaewatch.service").propagate = True
            with pytest.raises(StoreAway, match="away"):
                names_in(database)
            assert database.away
            own.start()
            with pytest.raises(StoreAway):  # nothing but a probe tries
                names_in(database)
            database.probe()
        assert names_in(database) == []
        assert [r.levelname for r in caplog.records] == ["ERROR", "WARNING"]
        assert "127.0.0.1" not in caplog.text
        database.close()


@needs_postgres
def test_a_value_that_it_cannot_hold_fails_the_one_who_asks_alone(postgresql: Postgres):
    database = Database(Place.of(postgresql.url))
    names = select(sources.c.name)
    for query in (names.where(sources.c.name == "a\0b"), names.limit(10**30)):
        with pytest.raises(NotStorable, match="must be one that the store can hold"):
            with database.reading() as connection:
                connection.execute(query)
        assert names_in(database) == []
    with pytest.raises(NotStorable), database.writing() as connection:
        connection.execute(insert(sources).values(name="kept", number=1, at=0))
        connection.execute(insert(sources).values(name="a\0b", number=1, at=0))
    assert names_in(database) == []
    with database.writing() as connection:
        METADATA.drop_all(connection)
    database.close()


@needs_postgres
def test_a_server_that_has_been_restarted_is_no_fault(postgresql: Postgres):
    database = Database(Place.of(postgresql.url))
    names_in(database)
    with database.reading() as connection:
        connection.execute(text("SELECT 1"))
    postgresql.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    )
    assert names_in(database) == []
    database.close()


@needs_postgres
def test_a_server_that_hangs_holds_up_no_request(monkeypatch: pytest.MonkeyPatch):
    with postgres() as own:
        database = Database(Place.of(own.url))
        asked = desk.Desk(database)

        def names() -> list[str]:
            query = select(sources.c.name)
            return asyncio.run(asked.read(lambda c: list(c.execute(query).scalars())))

        assert names() == []
        with own.paused(), monkeypatch.context() as briefly, pytest.raises(StoreAway):
            briefly.setattr(desk, "SECONDS", 0.5)
            names()
        assert names() == []
        asked.close()
        database.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("it.sqlite", "must be sqlite:///FILE or postgresql://"),
        ("mysql://h/d", "got another scheme"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
        ("sqlite:////nowhere/it.sqlite", "the folder '/nowhere' of --store must be there"),
        ("postgresql://me:secret@h:x/d", "got another text"),
    ],
)
def test_a_place_that_is_none_is_refused_without_a_password(text: str, says: str):
    with pytest.raises(SettingError, match=says) as caught:
        Place.of(text)
    assert "secret" not in str(caught.value)


def test_a_place_is_named_without_a_password():
    place = Place.of("postgresql://me:secret@db.example/d?sslmode=require")
    assert str(place) == "PostgreSQL at db.example"
    assert place.lasts
    assert not Place.of(None).lasts
