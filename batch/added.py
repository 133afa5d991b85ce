"""verdicts -> the columns that are added to each record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import polars as pl

from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import PART_COLUMNS, Parts
from vaewatch.scoring.verdicts import Verdicts

ADDED = {
    "anomaly_score": pl.Float64,
    "p_value": pl.Float64,
    "severity": pl.Float64,
    "is_anomaly": pl.Boolean,
    "top_reasons": pl.String,
    "model_version": pl.String,
}
EXPLAINED = {**ADDED, **dict.fromkeys(PART_COLUMNS, pl.Float64)}  # with the parts of the scores
SEGMENTED = {"segment": pl.String, "calibration": pl.String}  # where the artifact has a segment
HISTORY = {"history": pl.String}  # where it has a window
_values = attrgetter(*(part.name for part in fields(Parts)))  # `astuple` copies each number


def added_types(
    schema: Schema, prefix: str, *, explained: bool, windowed: bool = False
) -> dict[str, Any]:
    """Return the added columns by the names that they have in the output, with their types.

    An input's column that is named as the segment would be already holds it, and stays alone.
    """
    types = dict(ADDED)
    if schema.segment is not None:
        types |= SEGMENTED
        if f"{prefix}segment" == schema.segment:
            del types["segment"]
    if windowed:
        types |= HISTORY
    if explained:
        types |= dict.fromkeys(PART_COLUMNS, pl.Float64)
    return dict(zip(prefixed(types, prefix), types.values(), strict=True))


def prefixed(names: Iterable[str], prefix: str) -> tuple[str, ...]:
    """The names of added columns in the output."""
    return tuple(f"{prefix}{name}" for name in names)


def frame_of_verdicts(
    verdicts: Verdicts, version: str, quote: Callable[[str], str] = str
) -> pl.DataFrame:
    """One row a record; one that was not judged has nulls. `top_reasons` are joined by semicolons,
    null where there are none. The segment or the history comes next, where the artifact has one,
    and the parts of the scores last, if they were
    asked for. Every text passes through `quote`.
    """
    reasons = [quote(_joined(r)) if r else None for r in verdicts.reasons]
    columns = [  # as series: from a dict of arrays polars makes a frame in threads of its own
        pl.Series("anomaly_score", verdicts.score, nan_to_null=True),
        pl.Series("p_value", verdicts.p_value, nan_to_null=True),
        pl.Series("severity", verdicts.severity, nan_to_null=True),
        pl.Series("is_anomaly", verdicts.is_anomaly),
        pl.Series("top_reasons", reasons, dtype=pl.String),
        pl.Series("model_version", [quote(version)]).new_from_index(0, len(reasons)),
    ]
    if verdicts.segment is not None:
        names = [None if name is None else quote(name) for name in verdicts.segment]
        columns.append(pl.Series("segment", names, dtype=pl.String))
        columns.append(pl.Series("calibration", verdicts.calibration, dtype=pl.String))
    if verdicts.history is not None:
        columns[3] = columns[3].set(~pl.Series(verdicts.judged), None)
        columns.append(pl.Series("history", verdicts.history, dtype=pl.String))
    frame = pl.DataFrame(columns)
    if verdicts.parts is None:
        return frame
    parts = pl.DataFrame(list(map(_values, verdicts.parts)), PART_COLUMNS, orient="row")
    parts = parts.fill_nan(None)
    return pl.concat([frame, parts], how="horizontal")


def _joined(reasons: tuple[Reason, ...]) -> str:
    """The reasons on one line, whatever the values hold."""
    return " ".join("; ".join(map(str, reasons)).split())
