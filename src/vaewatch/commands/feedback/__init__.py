"""`vaewatch feedback`: what people said of incidents, in files and on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaewatch.commands.options import save, setting
from vaewatch.commands.parameters import SecretOption
from vaewatch.commands.terminal import out

if TYPE_CHECKING:
    from vaewatch.service.store.database import Database

FILE = click.Path(path_type=Path, dir_okay=False)


def store() -> Callable[[Any], Any]:
    """`--store URL`, as `vaewatch serve` takes it."""
    return setting(
        "--store",
        cls=SecretOption,
        metavar="URL",
        required=True,
        help="The store of the service: sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
    )


def everything() -> Callable[[Any], Any]:
    """`--all`: what was replaced or withdrawn as well."""
    return click.option(
        "--all",
        "everything",
        is_flag=True,
        help="All that was ever said, also what was replaced or withdrawn later.",
    )


@click.group(epilog="Example:  vaewatch feedback list --store sqlite:///store.sqlite")
def feedback() -> None:
    """Export, import, list and back up what people said of incidents."""


@contextmanager
def opened(url: str, *, make: bool = False) -> Iterator[Database]:
    """Open a store. `make`: a file that is not there is made, else a slip would look empty."""
    from vaewatch.scoring.errors import SettingError
    from vaewatch.service.model.errors import StoreAway
    from vaewatch.service.store.database import Database
    from vaewatch.service.store.place import Place

    place = Place.of(url)
    if place.path is not None and not make and not place.path.is_file():
        raise SettingError(f"--store must be there, but {place} is not.")
    database = Database(place, quiet=True)
    try:
        yield database
    except StoreAway as error:
        why = database.fault.rstrip(".")
        raise click.ClickException(f"{place} does not answer: {why}.") from error
    finally:
        database.close()


@contextmanager
def made(url: str) -> Iterator[Database]:
    """Open a store to be filled. A file has another name until the block has ended well: half a
    backup would look like a whole one.
    """
    from vaewatch.scoring.errors import SettingError
    from vaewatch.service.store.place import Place

    path = Place.of(url).path
    if path is None:
        with opened(url, make=True) as database:
            yield database
        return
    if path.exists():
        raise SettingError(f"'{path}' must not be there yet. Name another file.")
    part = path.with_name(f"{path.name}.part")
    remove_store(part)  # of a run that was killed
    try:
        with opened(f"sqlite:///{part}", make=True) as database:
            yield database
        part.replace(path)
    finally:
        remove_store(part)


def remove_store(path: Path) -> None:
    """Remove a file of SQLite, and those that belong to it."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


@feedback.command("list", epilog="Example:  vaewatch feedback list --store sqlite:///store.sqlite")
@store()
@everything()
def listed(store: str, everything: bool) -> None:
    """Show what was said, the oldest first."""
    from vaewatch.commands.terminal import print_table
    from vaewatch.service.feedback.marks import current, every

    with opened(store) as database, database.reading() as connection:
        marks = list(every(connection) if everything else current(connection))
    rows = [
        (
            m.at[:19] + "Z",
            m.label,
            m.incident or m.record or "",
            m.group or "",
            m.by or "",
            m.reason,
        )
        for m in marks
    ]
    print_table(out(), ("at", "label", "of", "group", "by", "reason"), rows)


@feedback.command(
    epilog="Example:  vaewatch feedback export --store sqlite:///store.sqlite --out marks.csv"
)
@store()
@click.option("--out", "target", type=FILE, help="File to write.  [default: stdout]")
@everything()
def export(store: str, target: Path | None, everything: bool) -> None:
    """Write what was said as CSV, for train, recalibrate and evaluate --feedback."""
    from vaewatch.service.feedback.marks import current, every
    from vaewatch.service.feedback.table import csv_of

    with opened(store) as database, database.reading() as connection:
        text = csv_of(every(connection) if everything else current(connection))
    if target is None:
        click.echo(text, nl=False)
    else:
        save(target, text.encode())


@feedback.command(
    "import",
    epilog="Example:  vaewatch feedback import marks.csv --store sqlite:///store.sqlite",
)
@click.argument("file", type=FILE)
@store()
@click.option("--by", metavar="NAME", help="Who says it, where a line does not name anybody.")
def take(file: Path, store: str, by: str | None) -> None:
    """Import feedback from CSV: a label, and an incident, a record, or a span (first, last).

    If a line is bad nothing is kept. Lines are kept 500 at a time, so that a service goes on
    writing; after an interruption run it again: lines that are there already change nothing. No
    pattern is made.
    """
    from vaewatch.commands.terminal import print_fact
    from vaewatch.scoring.incidents.marks import read_table
    from vaewatch.service.feedback import table
    from vaewatch.service.feedback.taking import Taking
    from vaewatch.service.store.moments import now

    rows = list(table.rows_of(read_table(file).lines, now(), by))
    taking = Taking()
    with opened(store) as database:
        try:
            taking.take(database, rows)
        except BaseException:
            click.echo(_so_far(taking.lines, len(rows)), err=True)
            raise
        with database.reading() as connection:
            unknown = table.unknown(connection, rows)
    print_fact(out(), "kept", f"{taking.new:,}")
    print_fact(out(), "known", f"{len(rows) - taking.new:,}")
    if unknown:
        print_fact(out(), "unknown", f"{unknown:,} name no incident of this store")


def _so_far(lines: int, of: int) -> str:
    return f"{lines:,} of {of:,} lines are committed. Run it again for the others."


@feedback.command(
    epilog="Example:  vaewatch feedback backup copy.sqlite --store sqlite:///store.sqlite"
)
@click.argument("target")
@store()
def backup(target: str, store: str) -> None:
    """Copy a store, while the service uses it, to a new file or an empty store.

    The copy is a store itself: serve it with --store sqlite:///FILE, or copy it back.
    """
    from vaewatch.commands.terminal import print_fact
    from vaewatch.service.store.copy import copy

    url = target if ":" in target else f"sqlite:///{target}"
    with opened(store) as source, made(url) as copied:
        rows = copy(source, copied)
    print_fact(out(), "incidents", f"{rows['vaewatch_incidents']:,}")
    print_fact(out(), "feedback", f"{rows['vaewatch_marks']:,}")
