"""rows -> a table that may have them already, in SQLite and PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import sqlite

Row = dict[str, Any]


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows; where the primary key is there already, change the other columns."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    insert = _insert(connection, table)
    others = {name: insert.excluded[name] for name in rows[0] if name not in keys}
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), rows)


def insert_new(connection: Connection, table: Table, row: Row) -> bool:
    """Insert a row; return False, and change nothing, where a unique column has its value."""
    query = _insert(connection, table).on_conflict_do_nothing().returning(*table.primary_key)
    return connection.execute(query, row).first() is not None


def _insert(connection: Connection, table: Table) -> Any:
    if connection.dialect.name != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # a tenth of the time that a service takes to start

    return postgresql.insert(table)
