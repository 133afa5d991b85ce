"""verdicts -> the columns that are added to each record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import polars as pl

from scoring.errors import SchemaError
from scoring.score import PART_COLUMNS
from scoring.scorer import Reason, Verdicts

ADDED = {
    "anomaly_score": pl.Float64,
    "p_value": pl.Float64,
    "severity": pl.Float64,
    "is_anomaly": pl.Boolean,
    "top_reasons": pl.String,
    "model_version": pl.String,
}
EXPLAINED = {**ADDED, **dict.fromkeys(PART_COLUMNS, pl.Float64)}


def refuse_added(names: Sequence[str]) -> None:
    """The input must not have the columns that scoring adds."""
    for name in EXPLAINED:
        if name in names:
            raise SchemaError(
                f"column '{name}' must not be in the input, since scoring adds it. Rename or drop "
                "it; was this file scored before?"
            )


def frame_of_verdicts(verdicts: Verdicts, version: str) -> pl.DataFrame:
    """One row a record; `top_reasons` are joined by semicolons, null where there are none. The
    parts of the scores stand last, where they were asked for.
    """
    frame = pl.DataFrame(
        {
            "anomaly_score": verdicts.score,
            "p_value": verdicts.p_value,
            "severity": verdicts.severity,
            "is_anomaly": verdicts.is_anomaly,
            "top_reasons": pl.Series(
                [_joined(r) if r else None for r in verdicts.reasons], dtype=pl.String
            ),
        }
    ).with_columns(pl.lit(version).alias("model_version"))
    if verdicts.parts is None:
        return frame
    parts = pl.DataFrame(list(map(astuple, verdicts.parts)), PART_COLUMNS, orient="row")
    return pl.concat([frame, parts], how="horizontal")


def _joined(reasons: tuple[Reason, ...]) -> str:
    """On one line, whatever the values hold."""
    return " ".join("; ".join(map(str, reasons)).split())
