"""schema, schema -> can both models score the same records, and how to recode them if so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code, other_code
from vaewatch.scoring.spelling.values import category_codes
from vaewatch.scoring.table import Table, set_calendar
from vaewatch.service.settings import MEMORY, REDIS, Settings


def require_same_columns(active: Schema, shadow: Schema) -> None:
    """Refuse a shadow that cannot score the records of the model that answers.

    Raises:
        ArtifactError: a column differs, or its kind does.
    """
    mine, theirs = _inputs(active), _inputs(shadow)
    if mine != theirs:
        differ = sorted(
            name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
        )
        raise ArtifactError(
            "a shadow must have the columns of the artifact that answers, of the same kinds; "
            f"'{differ[0]}' differs."
        )


def require_history(settings: Settings, active: bool, shadow: bool) -> None:
    """Refuse a shadow with a window that would not see the records before a record. `active`,
    `shadow`: whether they have one.

    Raises:
        ArtifactError: it would not.
    """
    if not shadow or settings.history_mode == MEMORY:
        return
    if settings.history_mode == REDIS or not active:
        raise ArtifactError(
            "a shadow with a window must be served with --history memory, which keeps a history "
            "for it, too."
        )


def _inputs(schema: Schema) -> dict[str, str]:
    """Return the kind of each column that a record names; a time has the kind of its form."""
    kinds: dict[str, str] = {
        column.name: column.kind for column in schema.columns if column.kind is not Kind.CIRCULAR
    }
    if schema.entity is not None:
        kinds[schema.entity] = "an entity"
    return kinds if schema.time is None else kinds | {schema.time.column: schema.time.form}


def translated(table: Table, schema: Schema) -> Table:
    """Code the same records as another schema of the same columns does."""
    old = table.schema
    numeric = [_index(old.measured, column.name) for column in schema.measured]
    discrete = [_index(old.discrete, column.name) for column in schema.discrete]
    codes = np.empty((len(table), len(discrete)), dtype=np.int32)
    for j, (column, at) in enumerate(zip(schema.discrete, discrete, strict=True)):
        codes[:, j] = _recoded(table, at, old.discrete[at], column)
    texts = [table.texts[at] for at in discrete]
    numbers = table.numbers[:, numeric]
    if table.times is None:
        return Table(schema, numbers, codes, texts)
    whole = np.empty((len(table), len(schema.numeric)))
    whole[:, : len(numeric)] = numbers
    set_calendar(schema, table.times, whole)
    return Table(schema, whole, codes, texts, table.times, table.entities)


def _index(columns: tuple[Column, ...], name: str) -> int:
    return next(i for i, column in enumerate(columns) if column.name == name)


def _recoded(table: Table, at: int, old: Column, new: Column) -> NDArray[np.int32]:
    """The (N,) codes of one column; a category that `old` does not list is looked up by its
    text.
    """
    codes = table.codes[:, at]
    if old.kind is Kind.BOOLEAN:
        return codes
    known, other = category_codes(new), other_code(new)
    names = [known.get(name, other) for name in old.categories]
    out = np.array([*names, other, missing_code(new)], dtype=np.int32)[codes]
    for row in np.flatnonzero(codes == other_code(old)).tolist():
        out[row] = known.get(str(table.texts[at][row]), other)
    return out
