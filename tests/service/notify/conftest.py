"""A store in a file, and one in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import Postgres, needs_postgres
from vaewatch.service.store.database import Database
from vaewatch.service.store.place import POSTGRESQL, SQLITE, Place
from vaewatch.service.store.tables import METADATA


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRESQL, marks=needs_postgres)])
def place(
    request: pytest.FixtureRequest, postgresql: Postgres | None, tmp_path: Path
) -> Iterator[Place]:
    if request.param == POSTGRESQL:
        assert postgresql is not None
        found = Place.of(postgresql.url)
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
