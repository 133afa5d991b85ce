"""The entity of a record: whose history it belongs to. It is a name, and never learned.

But a model knows the level and the swing of the entities that it was fitted to, and its budget is
theirs: so an artifact knows them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.spelling.categories import spell
from vaewatch.scoring.spelling.values import kind_of

if TYPE_CHECKING:
    import polars as pl

LONGEST = 1000  # characters; a name is kept as long as its records are


def entity_of(value: Any) -> str | None:
    """Return the name in a value as JSON carries it; None if it holds none."""
    if isinstance(value, str):
        return value if 0 < len(value) <= LONGEST else None
    if isinstance(value, bool) or value is None or value != value:
        return None
    if isinstance(value, int):
        return str(value)
    return spell(value) if isinstance(value, float) else None


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """Return a number for each of N entities' names, (N,): their places in order of the names."""
    return np.unique(np.asarray(names, object).astype(str), return_inverse=True)[1]


def in_order(names: Sequence[str] | None, moments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order of N records by entity and time, (N,), and as they came where both are the
    same. Without names all are of one entity.
    """
    if names is None:
        return np.argsort(moments, kind="stable")
    return np.lexsort((moments, numbered(names)))


def entities_of_records(
    column: str, records: Sequence[Mapping[str, Any]], problems: list[Problem]
) -> list[str]:
    """Return the entity of each record; one without a name is among the problems."""
    return [_named(column, i, record.get(column), problems) for i, record in enumerate(records)]


def _named(column: str, row: int, value: Any, problems: list[Problem]) -> str:
    name = entity_of(value)
    if name is None:
        problems.append(_problem(column, row, value))
    return name or ""


def _problem(column: str, row: int, value: Any) -> Problem:
    if value is None or value == "" or value != value:
        rule = f"column '{column}' must name the record's entity, got nothing"
        return Problem(row, column, "missing", rule)
    if isinstance(value, str):
        rule = f"column '{column}' must be a name of at most {LONGEST:,} characters"
        return Problem(row, column, "range", f"{rule}, got {len(value):,}")
    rule = f"column '{column}' must be a name, a text or a number, got {kind_of(value)}"
    return Problem(row, column, "type", rule)


def entities_of_column(texts: pl.Series, problems: list[Problem]) -> list[str]:
    """Return the entity of each of the (N,) cells, as texts; see `entities_of_records`."""
    names = texts.fill_null("")
    for row in (names.str.len_chars().is_between(1, LONGEST).not_()).arg_true().to_list():
        problems.append(_problem(texts.name, row, texts[row]))
    return names.to_list()


@dataclass(frozen=True)
class KnownEntities:
    """The entities that an artifact knows, by hashes of their names, which may be private: one in
    four billion other names is taken for one of them.

    hashes: (E,), ascending.
    """

    hashes: NDArray[np.uint32]

    @classmethod
    def of(cls, names: Iterable[str]) -> KnownEntities:
        return cls(np.unique(_hashes(set(names))))

    def __or__(self, other: KnownEntities) -> KnownEntities:
        return KnownEntities(np.union1d(self.hashes, other.hashes))

    def lacks(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """(N,) -> (N,): which names are of entities that are not known."""
        each = list(dict.fromkeys(names))
        asked = _hashes(each)
        first, end = (self.hashes.searchsorted(asked, side) for side in ("left", "right"))
        if len(each) == len(names):
            return np.asarray(first == end)
        lacking = dict(zip(each, (first == end).tolist(), strict=True))
        return np.fromiter((lacking[name] for name in names), bool, len(names))


def _hashes(names: Iterable[str]) -> NDArray[np.uint32]:
    """Return a hash of each name."""
    found = (blake2b(name.encode(errors="surrogatepass"), digest_size=4) for name in names)
    return np.frombuffer(b"".join(each.digest() for each in found), "<u4").astype(np.uint32)
