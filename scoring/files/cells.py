"""a frame's types -> refused where they are none that a record can have."""

from __future__ import annotations

import polars as pl

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.schema import Schema


def require_cells(schema: Schema, frame: pl.DataFrame) -> None:
    """Check that the schema's columns are there, and that texts and booleans are not nested.

    Raises:
        SchemaError: a column is not there, or holds lists, objects or what polars cannot read.
    """
    schema.require(frame.columns)
    for column in schema.discrete:
        kind = frame.schema[column.name]
        if kind.is_nested() or kind == pl.Object:
            raise no_cell(column.name, str(kind))


def no_cell(name: str, what: str) -> SchemaError:
    """Return the error of a column that no record can have."""
    return SchemaError(
        f"column '{name}' must hold numbers, texts or booleans, got {what}. Convert it, as with "
        ".astype(str), or drop it."
    )
