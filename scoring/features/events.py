"""codes -> indicators of events, standardised, in few array operations.

The hot loop of `vaewatch.scoring.features.vectorizer` for discrete columns; every lookup table is
built once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.feature import (
    INDICATOR,
    TILE,
    Feature,
    feature_order,
    floats,
    ints,
    places_of_columns,
)
from vaewatch.scoring.features.shared import SharedOf, first_of
from vaewatch.scoring.schema import Schema, missing_code, other_code


@dataclass(frozen=True)
class Events:
    """Lookup tables for the discrete columns.

    The codes of all columns stand in one row of E events: an event is its column's start plus its
    code.

    Attributes:
        start: the first event of each discrete column.
        columns: the schema index of each discrete column.
        varying: the columns that have indicators.
        block, blocks: the slice of all indicators among the features, and of each column's.
        off: the indicators' values when their event does not happen.
        place, on: (E,) the indicator of each event and its value when the event happens; any of
            the column's indicators for an event without one.
        unseen: (E,) whether the fit data never had the event.
        rows: (TILE, 1) the offset of each record's features.
    """

    start: NDArray[np.int64]
    columns: NDArray[np.int64]
    varying: NDArray[np.int64]
    block: slice
    blocks: tuple[slice, ...]
    off: NDArray[np.float32]
    place: NDArray[np.int64]
    on: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    rows: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        schema: Schema,
        features: Sequence[Feature],
        constants: Mapping[str, float],
        shared: SharedOf,
    ) -> Events:
        first = sum(feature_order(f) < INDICATOR for f in features)
        mean, deviation = floats(f.mean for f in features), floats(f.deviation for f in features)
        sizes = [missing_code(column) + 1 for column in schema.discrete]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        place, known = np.zeros(start[-1], np.int64), np.zeros(start[-1], bool)
        places, at = places_of_columns(features), {n: i for i, n in enumerate(schema.names)}
        blocks = []
        for column, begin, end in zip(schema.discrete, start, start[1:], strict=False):
            own = places.get(column.name, [])  # side by side
            codes = [int(features[i].code or 0) for i in own]
            blocks.append(slice(own[0], own[-1] + 1) if own else slice(0, 0))
            place[begin:end] = own[0] if own else 0
            place[begin + ints(codes)] = own
            seen = [*codes, *([int(constants[column.name])] if column.name in constants else [])]
            known[begin + ints(seen)] = True
            if counts := shared.get(column.name):
                some = begin + np.arange(first_of(column, counts), other_code(column) + 1)
                place[some], known[some] = place[some[-1]], ints(counts) > 0
        return cls(
            start=start[:-1],
            columns=ints(at[column.name] for column in schema.discrete),
            varying=ints(j for j, block in enumerate(blocks) if block.stop),
            block=slice(first, len(features)),
            blocks=tuple(blocks),
            off=(-mean / deviation)[first:].astype(np.float32),
            place=place,
            on=((1.0 - mean) / deviation)[place].astype(np.float32),
            unseen=~known,
            rows=np.arange(TILE)[:, None] * len(features),
        )

    def write(
        self,
        codes: NDArray[np.int32],
        values: NDArray[np.float32],
        unseen: NDArray[np.bool_],
    ) -> bool:
        """Fill in the features of at most TILE records; return whether any value is unseen.

        Args:
            codes: (N, discrete columns).
        """
        values[:, self.block] = self.off
        event = codes + self.start
        happened = event.take(self.varying, axis=1)
        at = self.place.take(happened) + self.rows[: len(codes)]
        values.put(at, self.on.take(happened))
        first = self.unseen.take(event)
        if not np.count_nonzero(first):
            return False
        unseen[:, self.columns] = first
        for row, column in zip(*np.nonzero(first), strict=True):
            values[row, self.blocks[column]] = 0.0  # the network gets the column's mean
        return True
