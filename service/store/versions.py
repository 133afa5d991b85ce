"""The version of a store's tables: new ones are made, older ones are brought up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, insert, inspect, select, text, update

from vaewatch.service.store.tables import METADATA, numbers

VERSION = "version"  # the name of the number
Step = Callable[[Connection], None]  # from one version to the next


def _name_kinds(connection: Connection) -> None:
    """Make room for the kind of a group, beside its name."""
    for table in ("vaewatch_incidents", "vaewatch_marks"):
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN kind VARCHAR"))


# STEPS[n] brings tables of version n + 1 to n + 2. A step names each change by itself: the tables
# of METADATA are always those of the newest version.
STEPS: Sequence[Step] = (_name_kinds,)


class NewerStore(Exception):
    """The tables are of a later release."""


def bring_up_to_date(connection: Connection, steps: Sequence[Step] = STEPS) -> None:
    """Make the tables, or change those of an earlier release. The caller holds the write lock.

    Raises:
        NewerStore: they are of a later one; nothing is changed.
    """
    newest = len(steps) + 1
    found = version_of(connection)
    if found is None:
        METADATA.create_all(connection)
        connection.execute(insert(numbers).values(name=VERSION, value=newest))
        return
    if found > newest:
        raise NewerStore(
            f"the store must have tables of version {newest} or less, got {found}. Upgrade "
            "vaewatch, or name another store."
        )
    for step in steps[found - 1 :]:
        step(connection)
    if found < newest:
        connection.execute(update(numbers).where(numbers.c.name == VERSION).values(value=newest))


def version_of(connection: Connection) -> int | None:
    """Return the version of the tables; None if there are none."""
    if not inspect(connection).has_table(numbers.name):
        return None
    query = select(numbers.c.value).where(numbers.c.name == VERSION)
    found: int | None = connection.execute(query).scalar()
    return found
