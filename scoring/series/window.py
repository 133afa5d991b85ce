"""Window: how many records of an entity are judged together, and what parts them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from vaewatch.scoring.time.form import SECOND

ONE = ""  # the entity of a series without entities


class Pace(Struct, frozen=True):
    """The scale of log1p of the time since the record before, in usual steps."""

    mean: Annotated[float, Meta(description="In the fit data.")]
    deviation: Annotated[float, Meta(description="In the fit data.")]

    def feature(self, since: NDArray[np.int64], step: int) -> NDArray[np.float32]:
        """(N,) microseconds since the record before -> (N,), standardised."""
        raw = np.log1p(since / max(step, 1))
        return np.asarray((raw - self.mean) / self.deviation, dtype=np.float32)

    def seconds(self, feature: float, step: int) -> float:
        """Return the seconds that a feature stands for."""
        raw = min(feature * self.deviation + self.mean, 50.0)
        return max(math.expm1(raw), 0.0) * step / SECOND


def hide_first_pace(windows: NDArray[np.float32]) -> None:
    """Take the pace, the last number, of the first record of each window, (N, W, D), to be as
    usual: it is the time since a record before the window, which must score the same without that.
    """
    windows[:, 0, -1] = 0.0


class Still(Struct, frozen=True):
    """A numeric column that never stood still for long: where the longest run of equal values of n
    fit records has R, one of 2 R + 1 comes about once in n records, as other unseen values do.
    """

    column: Annotated[int, Meta(description="Index of the column in the schema.")]
    feature: Annotated[int, Meta(description="Index of its value among the features.")]
    records: Annotated[
        int, Meta(description="So many equal values in a row, or more, are as an unseen value.")
    ]


class Window(Struct, frozen=True, omit_defaults=True):
    """The window of an artifact that judges each record with those before it."""

    size: Annotated[int, Meta(description="W, the records of a window.")]
    gap: Annotated[
        int, Meta(description="Microseconds: after a longer pause a window begins anew.")
    ]
    step: Annotated[int, Meta(description="Microseconds from one record to the next, usually.")]
    pace: Annotated[
        Pace | None,
        Meta(
            description="Scale of the time since the record before, which is learned where it "
            "varies."
        ),
    ] = None
    still: Annotated[
        tuple[Still, ...], Meta(description="The columns that never stood still for long.")
    ] = ()

    def width(self, features: int) -> int:
        """Return the numbers of a record that a window sees, for D features."""
        return features + (self.pace is not None)


def run_lengths(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """(T, K) features -> (T, K): how many records up to each hold the same value in a row.

    A value of 0, the mean, is never the same: a missing value has it, too.
    """
    at = np.arange(len(values))[:, None]
    same = np.zeros(values.shape, bool)
    same[1:] = (values[1:] == values[:-1]) & (values[1:] != 0.0)
    return np.asarray(at - np.maximum.accumulate(np.where(same, 0, at), axis=0) + 1)


@dataclass(frozen=True)
class StillColumns:
    """Lookup tables for the K columns that never stood still for long.

    Attributes:
        features, columns: (K,) see `Still`. least: (K,) equal values in a row that are unseen.
    """

    features: NDArray[np.int64]
    columns: NDArray[np.int64]
    least: NDArray[np.int64]

    @classmethod
    def of(cls, still: tuple[Still, ...]) -> StillColumns | None:
        """Return the tables; None without a column."""
        rows = [(own.feature, own.column, own.records) for own in still]
        return cls(*np.array(rows, np.int64).T) if rows else None

    def mark(
        self, values: NDArray[np.float32], unseen: NDArray[np.bool_], new: int
    ) -> NDArray[np.bool_]:
        """Return what is unseen of consecutive records, (T, C), where the newest of them hold a
        value that stands still for too long, too.

        Args:
            values: (T, D) features. unseen: (T, C) without that. new: how many records are to
                mark.
        """
        far = run_lengths(values[:, self.features])[-new:] >= self.least
        if not far.any():
            return unseen
        marked = unseen.copy()
        marked[-new:, self.columns] |= far
        return marked


class SeriesSummary(Struct, frozen=True):
    """What a fit made of its series, and what its budget means for them."""

    entities: Annotated[int, Meta(description="Entities of the fit data; 1 without a column.")]
    short: Annotated[
        int, Meta(description="Entities without a full window, which were not learned.")
    ]
    gaps: Annotated[int, Meta(description="Pauses after which a window begins anew.")]
    repeated: Annotated[
        int, Meta(description="Records of a moment that their entity already had; left out.")
    ]
    windows: Annotated[int, Meta(description="Full windows.")]
    blocks: Annotated[
        int,
        Meta(
            description="Independent blocks that the calibration scores are worth: at most as "
            "many as there are windows that share no record, and fewer where alarms come "
            "together. The interval of the rate is that of so many records."
        ),
    ]
    incidents_per_day: Annotated[
        dict[str, float],
        Meta(
            description="alpha, as text: false incidents per entity and day, as counted on the "
            "fit data. Alarms of one entity no further apart than a window are one incident."
        ),
    ]
    late: Annotated[
        int,
        Meta(
            description="Records that stood after a newer one of their entity in the fit data; "
            "put in order of their times."
        ),
    ] = 0
    period: Annotated[
        int | None,
        Meta(
            description="Records after which values come back, by which `auto` chose the window; "
            "null where none was found, or looked for."
        ),
    ] = None
    blocks_of_new: Annotated[
        int | None,
        Meta(
            description="As `blocks`, of the scores that judge entities that the fit never saw; "
            "null where these are judged as all others."
        ),
    ] = None
    score_blocks: Annotated[
        int | None,
        Meta(
            description="As `blocks`, with all scores in place of alarms: what looks for a change "
            "of the scores takes one record of each. Null in artifacts of 2026-11 and before."
        ),
    ] = None
