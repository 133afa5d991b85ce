"""what a caller has -> records as JSON carries them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vaewatch.scoring.errors import Problem, RecordError
from vaewatch.scoring.intake.values import plain_records
from vaewatch.service.client.connection import ServiceError


def rows_of(records: Any) -> Sequence[Any]:
    """Return records as JSON carries them. A DataFrame of pandas or polars is known by its
    methods.
    """
    if hasattr(records, "collect"):  # a lazy one of polars
        records = records.collect()
    if hasattr(records, "to_dicts"):
        rows: Iterable[Any] = records.to_dicts()
    elif hasattr(records, "to_dict") and hasattr(records, "columns"):
        if not records.columns.is_unique:
            twice = records.columns[records.columns.duplicated()][0]
            raise ServiceError(f"column '{twice}' must be in the DataFrame once, got it twice.")
        rows = records.to_dict(orient="records")
    elif isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise ServiceError(
            f"records must be a list of records or a DataFrame, got a {type(records).__name__}. "
            "Put a single record into a list."
        )
    else:
        rows = records
    return [_sendable(i, row) for i, row in enumerate(plain_records(list(rows)))]


def _sendable(index: int, row: Any) -> Any:
    """Replace NaN, which JSON does not have, by None, and refuse what else it does not have."""
    if not isinstance(row, Mapping):
        rule = f"a record must be an object of column: value, got a {type(row).__name__}"
        raise RecordError((Problem(index, None, "type", rule),))
    return {name: _finite(index, name, value) for name, value in row.items()}


def _finite(index: int, name: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        rule = f"column '{name}' must be a finite number, got infinity"
        raise RecordError((Problem(index, name, "range", rule),))
    if isinstance(value, list):
        return [_finite(index, name, each) for each in value]
    if isinstance(value, Mapping):
        return {key: _finite(index, name, each) for key, each in value.items()}
    return value
