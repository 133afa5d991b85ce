"""text of --store -> Place: which database holds incidents and feedback."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from vaewatch.scoring.errors import SettingError

MEMORY, SQLITE, POSTGRESQL = "memory", "sqlite", "postgresql"
FORMS = "sqlite:///FILE or postgresql://USER@HOST/DATABASE"
FILE = "store.sqlite"  # in the folder that workers share


@dataclass(frozen=True)
class Place:
    """A database. kind: MEMORY, SQLITE or POSTGRESQL.

    url: as SQLAlchemy reads it; its text stays out of messages, since it may hold a password.
    lasts: whether what it holds is there after the service has stopped.
    """

    kind: str
    url: URL
    lasts: bool = True

    @classmethod
    def of(cls, text: str | None, folder: Path | None = None) -> Place:
        """Read a setting. Where there is none, the place is the folder that workers share, or the
        memory where there are no others.

        Raises:
            SettingError: it names no database, or one that cannot be used here.
        """
        if text is None:
            if folder is None:
                return cls(MEMORY, URL.create("sqlite+pysqlite"), lasts=False)
            url = URL.create("sqlite+pysqlite", database=str(folder / FILE))
            return cls(SQLITE, url, lasts=False)
        try:
            url = make_url(text)
        except (ArgumentError, ValueError) as error:
            raise SettingError(f"--store must be {FORMS}, got another text.") from error
        if url.drivername == "sqlite":
            return _sqlite(url)
        if url.drivername in ("postgresql", "postgres"):
            return _postgresql(url)
        raise SettingError(f"--store must be {FORMS}, got another scheme.")

    @classmethod
    def file(cls, path: Path) -> Place:
        """Return the database of a file."""
        return cls(SQLITE, URL.create("sqlite+pysqlite", database=str(path)))

    @property
    def path(self) -> Path | None:
        """The file, where there is one."""
        return Path(self.url.database) if self.kind == SQLITE and self.url.database else None

    def __str__(self) -> str:
        """Name it without a password, a user or a query."""
        if self.kind == MEMORY:
            return "memory"
        if self.kind == SQLITE:
            return f"the file '{self.url.database}'"
        return f"PostgreSQL at {self.url.host or 'its socket'}"


def _sqlite(url: URL) -> Place:
    if not url.database or url.database == ":memory:" or url.host or url.query:
        raise SettingError(
            "--store must name a file after sqlite:///, such as sqlite:///store.sqlite."
        )
    folder = Path(url.database).parent
    if not folder.is_dir():
        raise SettingError(f"the folder '{folder}' of --store must be there, but is not.")
    return Place(SQLITE, url.set(drivername="sqlite+pysqlite"))


def _postgresql(url: URL) -> Place:
    if find_spec("psycopg") is None:
        raise SettingError(
            "--store postgresql://HOST takes the [postgres] extra: pip install "
            "'vaewatch[postgres]'."
        )
    return Place(POSTGRESQL, url.set(drivername="postgresql+psycopg"))
