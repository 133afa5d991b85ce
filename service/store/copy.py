"""one store -> an empty one: a backup, a restore, or a move from SQLite to PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, text

from vaewatch.scoring.errors import SettingError
from vaewatch.service.store.database import Database
from vaewatch.service.store.tables import METADATA, numbers
from vaewatch.service.store.versions import VERSION

AT_A_TIME = 1_000  # rows


def copy(source: Database, target: Database) -> dict[str, int]:
    """Copy every table, as it is at one moment; returns the rows of each.

    Raises:
        SettingError: the target holds something.
        StoreAway: one of the two does not answer.
    """
    copied: dict[str, int] = {}
    with source.reading() as old, target.writing(alone=True) as new:
        if old.dialect.name == "postgresql":
            old.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        _require_empty(new)
        for table in METADATA.sorted_tables:
            query = select(table)
            if table is numbers:
                query = query.where(numbers.c.name != VERSION)
            rows = old.execution_options(yield_per=AT_A_TIME).execute(query).mappings()
            copied[table.name] = 0
            for some in rows.partitions(AT_A_TIME):
                new.execute(insert(table), [dict(row) for row in some])
                copied[table.name] += len(some)
        _count_on(new)
    return copied


def _require_empty(connection: Connection) -> None:
    for table in METADATA.sorted_tables:
        query = select(func.count()).select_from(table)
        if table is numbers:
            query = query.where(numbers.c.name != VERSION)
        if connection.execute(query).scalar():
            raise SettingError("the target of a backup must be empty, but holds incidents.")


def _count_on(connection: Connection) -> None:
    """Have PostgreSQL go on after the largest numbers: it was given them, and did not count."""
    if connection.dialect.name != "postgresql":
        return
    for table in METADATA.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            name, key = table.name, column.name
            connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{name}', '{key}'), "
                    f'coalesce(max("{key}"), 0) + 1, false) FROM {name}'
                )
            )
