"""place -> transactions. Where the database does not answer, it is away, and said to be."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, event, insert, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    TimeoutError,
)
from sqlalchemy.pool import QueuePool

from vaewatch.service.model.errors import NotStorable, StoreAway, StoreBusy
from vaewatch.service.store.place import MEMORY, POSTGRESQL, Place
from vaewatch.service.store.tables import sources
from vaewatch.service.store.versions import NewerStore, bring_up_to_date

log = logging.getLogger("vaewatch.service")

CONNECTIONS = 3  # of each process
SECONDS = 2  # to connect, and to wait for a connection
STATEMENT_SECONDS = 10  # of one statement, its wait for a lock included
BUSY_SECONDS = 5  # SQLite waits for another writer
JOURNAL_BYTES = 4 << 20  # of SQLite's journal that stay; it starts again at about as many
LOCK = 0x7661_6577  # of PostgreSQL's advisory locks: the one who changes groups
TRIAL = "trial"  # the name of a row that is there for a moment
WRITES = "vaewatch_writes"  # an execution option
AWAY = "the store of incidents and feedback is away: it does not answer. Try again."
VALUE = "every value must be one that the store can hold, got another one"
BUSY = "the store of incidents and feedback is busy: others write into it. Try again."
STATES = ("57014", "55P03", "40P01", "40001")  # of PostgreSQL: too late, a lock, two in a knot


@dataclass
class Database:
    """A database of one process; any number of threads may use it.

    quiet: the log has nothing of it.
    away: it did not answer. Until `probe` finds it again, nothing else tries.
    """

    place: Place
    quiet: bool = False
    away: bool = field(default=False, init=False)
    fault: str = field(default="", init=False)  # why it is away
    outdated: bool = field(default=False, init=False)  # this release is older than its tables
    _engine: Engine = field(init=False)
    _ready: bool = field(default=False, init=False)  # its tables have been looked at
    _file: tuple[int, int] | None = field(default=None, init=False)  # which it is, of SQLite
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._engine = _engine(self.place)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read, in one transaction.

        Raises:
            NotStorable: it cannot hold a value that it was asked for.
            StoreAway: it does not answer.
        """
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self, *, alone: bool = False) -> Iterator[Connection]:
        """Read and write, in one transaction, which is committed when the block ends.

        alone: no other transaction that is alone runs meanwhile, in any process. In SQLite none
            that writes does anyway.

        Raises:
            NotStorable: it cannot hold a value that it was given. Nothing has changed.
            StoreAway: it does not answer. Whether the changes are kept is not known then.
            StoreBusy: others had the lock for too long. Nothing has changed.
        """
        with self._transaction(writes=True) as connection:
            if alone:
                self._take_lock(connection)
            yield connection

    def probe(self) -> None:
        """Look whether it answers, and bring its tables up to date. One that was away must take a
        change as well: a full disk is read all the same.

        Raises:
            StoreAway: it does not.
        """
        self._require_file()
        with self._watched(), self._engine.connect() as connection:
            with self._begun(connection, writes=not self._ready):
                self._prepare(connection)
                connection.execute(text("SELECT 1"))
                if self.away:
                    _try_to_write(connection)

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        if self.away:
            raise StoreAway(AWAY)
        self._require_file()
        if not self._ready:
            self.probe()
        with self._watched(), self._engine.connect() as connection:
            with self._begun(connection, writes=writes):
                yield connection

    @contextmanager
    def _begun(self, connection: Connection, *, writes: bool) -> Iterator[None]:
        connection = connection.execution_options(**{WRITES: writes})
        with connection.begin():
            if self.place.kind == POSTGRESQL:
                mode = "" if writes else "SET TRANSACTION READ ONLY; "
                limit = f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'"
                connection.exec_driver_sql(mode + limit)
            yield

    def _prepare(self, connection: Connection) -> None:
        if not self._ready:
            self._take_lock(connection)
            bring_up_to_date(connection)
            self._ready, self._file = True, file_of(self.place)

    def _require_file(self) -> None:
        """Open the file anew where it was removed or replaced: what is written to the one before
        would be gone when it is closed.
        """
        if self._file is None or not self._ready or file_of(self.place) == self._file:
            return
        with self._lock:
            self._ready, self._file = False, None
            self._engine.dispose()
            if not self.quiet:
                log.error("the file of the store was removed or replaced; it is opened anew")

    def _take_lock(self, connection: Connection) -> None:
        if self.place.kind == POSTGRESQL:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Note whether it answers."""
        try:
            yield
        except IntegrityError:  # a rule of the tables, which the caller knows
            raise
        except DataError as error:  # it answers: to be away for one bad request would fail all
            raise NotStorable(f"{VALUE}: {words_of(error)}.") from error
        except (DBAPIError, TimeoutError, NewerStore) as error:
            if is_busy(error):
                self.fault = "others write into it"
                if not self.quiet:
                    log.warning("the store was busy for too long: %s", words_of(error))
                raise StoreBusy(BUSY) from error
            self._lose(error)
            raise StoreAway(AWAY) from error
        self._find()

    def _lose(self, error: Exception) -> None:
        with self._lock:
            fault = words_of(error)
            if self.place.kind == MEMORY:
                log.error("the store failed: %s", fault)
                return
            self.fault, self._ready = fault, False  # its tables may be others when it is back
            self.outdated = isinstance(error, NewerStore)
            before, self.away = self.away, True
            if not (before or self.quiet):
                log.error("the store is away, records are scored all the same: %s", fault)

    def _find(self) -> None:
        with self._lock:
            if self.away:
                self.away, self.fault = False, ""
                log.warning("the store is back")

    def close(self) -> None:
        self._engine.dispose()


def file_of(place: Place) -> tuple[int, int] | None:
    """Return which file a place names now; None if there is none."""
    if place.path is None:
        return None
    try:
        found = place.path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _try_to_write(connection: Connection) -> None:
    """Change a table, and change it back."""
    connection.execute(insert(sources).values(name=TRIAL, number=0, at=0))
    connection.execute(delete(sources).where(sources.c.name == TRIAL))


def is_ill(error: BaseException | None) -> bool:
    """Return whether a database fails by itself, as with a full disk, and not because of what it
    was asked.
    """
    asked = (DataError, IntegrityError, InterfaceError, NotSupportedError, ProgrammingError)
    if not isinstance(error, DBAPIError) or isinstance(error, asked):
        return False
    return getattr(error.orig, "sqlite_errorname", None) != "SQLITE_ERROR"


def is_busy(error: Exception) -> bool:
    """Return whether a database answers, but was too slow because of what others do."""
    if isinstance(error, TimeoutError):  # this process has all connections in use
        return True
    if not isinstance(error, DBAPIError):
        return False
    name = getattr(error.orig, "sqlite_errorname", None) or ""
    state = getattr(error.orig, "sqlstate", None)
    return name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or state in STATES


def words_of(error: Exception) -> str:
    """Say what failed, without a statement, its values or an address."""
    if isinstance(error, NewerStore):
        return str(error)
    if isinstance(error, DBAPIError):
        sqlite = getattr(error.orig, "sqlite_errorname", None)
        state = getattr(error.orig, "sqlstate", None)
        return " ".join(str(w) for w in (type(error.orig).__name__, sqlite, state) if w)
    return type(error).__name__


def _engine(place: Place) -> Engine:
    arguments: dict[str, Any] = {}
    options: dict[str, Any] = {}
    if place.kind == POSTGRESQL:
        arguments = {"prepare_threshold": None}  # so that it works behind PgBouncer as well
        for name, value in (("connect_timeout", SECONDS), ("tcp_user_timeout", 1000 * SECONDS)):
            if name not in place.url.query:
                arguments[name] = value
        options = {"pool_pre_ping": True}
    else:
        arguments = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(
        place.url,
        poolclass=QueuePool,
        pool_size=1 if place.kind == MEMORY else CONNECTIONS,  # memory: there is but one
        max_overflow=0,
        pool_timeout=SECONDS + BUSY_SECONDS,
        connect_args=arguments,
        hide_parameters=True,
        **options,
    )
    if place.kind != POSTGRESQL:
        event.listen(engine, "connect", _open_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_sqlite(connection: Any, record: Any) -> None:
    """Set a new connection up: commits wait for the disk, and readers do not wait for writers."""
    connection.isolation_level = None  # the module would begin transactions too late
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    connection.execute("PRAGMA synchronous = FULL")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: two readers that both come to write would lock each other."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
