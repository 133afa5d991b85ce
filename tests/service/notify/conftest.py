"""A store in a file, and one in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PROGRAMS, Postgres, needs_postgres, postgres
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import POSTGRESQL, SQLITE, Place
from vaewatch.service.store.tables import METADATA


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres | None]:
    if PROGRAMS is None:
        yield None
        return
    with postgres() as running:
        yield running


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRESQL, marks=needs_postgres)])
def place(
    request: pytest.FixtureRequest, server: Postgres | None, tmp_path: Path
) -> Iterator[Place]:
    if request.param == POSTGRESQL:
        assert server is not None
        found = Place.of(server.url)
    else:
        found = Place.of(f"sqlite:///{tmp_path}/store.sqlite")
    yield found
    cleaner = Database(found)
    with cleaner.writing() as connection:
        METADATA.drop_all(connection)
    cleaner.close()


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    found = Database(place)
    yield found
    found.close()
