"""A chunk of a file as records: typed for the network, and as it came for the output."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import BadRow, Place
from vaewatch.scoring.files.packing import packing_of
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.files.rows import Rows
from vaewatch.scoring.table import Table


@dataclass(frozen=True)
class Records:
    """The records of a chunk. Those that could be split into fields have a row in `table`; the
    `good` ones go to the output, all others are among the `rejects`.

    good: (N,) for each row of the table.
    rows: the bytes of the same rows, if the file is text.
    frame: makes the columns of these rows, for another format or for some columns.
    """

    table: Table
    good: NDArray[np.bool_]
    rejects: tuple[Reject, ...]
    rows: Rows | None
    frame: Callable[[], pl.DataFrame]


class Source(Protocol):
    """One file of records that are to be scored.

    format: csv, ndjson or parquet.
    header: of CSV, without its line end; the rows of files with the same header can be joined.
    """

    @property
    def name(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def header(self) -> bytes: ...
    @property
    def delimiter(self) -> str: ...
    @property
    def line_end(self) -> bytes: ...

    def chunks(self, start: Place | None) -> Iterator[Any]:
        """Yield chunks of whole records, not yet parsed; each has the Place at which it `end`s."""
        ...

    def lean(self) -> Source:
        """Return the same file without its stream, to parse chunks of it in another process."""
        ...

    def share(self, end: Place, size: int) -> float | None:
        """Return the share of the file, of `size` bytes, that is before `end`; None if unknown."""

    def parse(self, chunk: Any) -> Records:
        """Type and check the records of a chunk; several threads may do so at once."""
        ...


@dataclass(frozen=True)
class Lines:
    """Some records of a file that is read without a schema.

    lines: (N,) the line on which each record starts, from 1; in Parquet its row.
    bad: rows that are not in `frame`, since they cannot be split into fields.
    """

    frame: pl.DataFrame
    lines: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    bad: tuple[BadRow, ...] = ()


@dataclass(frozen=True)
class Frames:
    """One file of records that are read without a schema.

    chunks: the records, a chunk at a time. Columns are text in CSV, and have the file's types in
    NDJSON and Parquet. In NDJSON columns and types may differ from chunk to chunk.
    index: the columns that hold a table's index, as the file itself says.
    delimiter: of CSV.
    """

    format: str
    chunks: Iterator[Lines]
    index: tuple[str, ...] = ()
    delimiter: str = ","


def share_of_text(name: str, end: Place, size: int) -> float | None:
    """Offsets count unpacked bytes, so nothing is known of a packed file."""
    return None if not size or packing_of(name) else end.offset / size


def good_rows(n: int, bad: list[int]) -> NDArray[np.bool_]:
    """Return (n,) all rows but the `bad` ones."""
    good = np.ones(n, dtype=bool)
    good[bad] = False
    return good


def refuse_reserved(names: Collection[str], reserved: Iterable[str]) -> None:
    """Refuse an input that has one of the columns that scoring adds."""
    for name in reserved:
        if name in names:
            raise SchemaError(
                f"column '{name}' must not be in the input, since scoring adds it. Rename or drop "
                "it, or pass --prefix to vaewatch score; was this file scored before?"
            )
