"""A chunk of a file as records: typed for the network, and as it came for the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.rejects import Reject
from vaewatch.scoring.files.rows import Block
from vaewatch.scoring.table import Table


@dataclass(frozen=True)
class Records:
    """Records that have a row in `table`: the `good` ones are given back, the others are among the
    `rejects`, beside those that could not even be split into fields.

    block: the rows' bytes, where the file is text.
    frame: makes the columns of all rows, for another format or for some columns.
    """

    table: Table
    good: NDArray[np.bool_]
    rejects: tuple[Reject, ...]
    block: Block | None
    frame: Callable[[], pl.DataFrame]


class Source(Protocol):
    """One file of records.

    to: the format that it has.
    header: of CSV, without its line end; files with the same one can be joined.
    """

    @property
    def name(self) -> str: ...
    @property
    def to(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def header(self) -> bytes: ...
    @property
    def delimiter(self) -> str: ...
    @property
    def line_end(self) -> bytes: ...

    def pieces(self, start: Place | None) -> Iterator[Any]:
        """Whole records, not yet looked into; each piece has the Place before which it `end`s."""

    def lean(self) -> Source:
        """The same file, to parse pieces of it elsewhere: it cannot be read any more."""

    def share(self, end: Place, size: int) -> float | None:
        """How much of the file, of `size` bytes, is before `end`; None where that is not known."""

    def parse(self, piece: Any) -> Records:
        """Safe to call from several threads."""


PACKED = (".gz", ".zst")


def share_of_text(name: str, end: Place, size: int) -> float | None:
    """Offsets count unpacked bytes, so of a packed file nothing is known."""
    return None if not size or name.endswith(PACKED) else end.offset / size


def good_rows(n: int, bad: list[int]) -> NDArray[np.bool_]:
    """(n,) all but these."""
    good = np.ones(n, dtype=bool)
    good[bad] = False
    return good
