"""Table -> histograms of its columns, and their distance from the reference.

The population stability index of a column with reference shares p and live shares q over the same
bins is PSI = sum((q - p) ln(q / p)): below 0.1 little has changed, above 0.25 much has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.schema import PLACES, Column, Schema, missing_code
from vaewatch.scoring.table import Table

BINS = 10
FEW = 1000  # records; up to here the number of NumPy calls decides the time
MUCH = 0.25  # PSI above that by chance, from which on a column has changed much
SURE = 3.0  # standard deviations of what chance brings


class Changed(Struct, frozen=True):
    """A column that has changed much."""

    column: Annotated[str, Meta(description="Its name.")]
    psi: Annotated[float, Meta(description="Its population stability index.")]


@dataclass(frozen=True)
class DriftReference:
    """Histograms of normal records, made by `vaewatch.training.calibration.calibrate`.

    Attributes:
        edges: (numeric columns, BINS - 1) inner edges, the deciles of the reference. A value on an
            edge belongs to the upper bin.
        counts: (columns in the schema's order, width) records in each bin; a column's last used
            bin holds the missing values.
    """

    schema: Schema
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    def count(self, table: Table) -> NDArray[np.int64]:
        """Count the table's records in each bin, (columns, width)."""
        return count_bins(self.schema, self.edges, table)

    def psi(self, live: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the PSI of live bin counts, (columns,).

        Half a record is added to each used bin, so that none is empty.
        """
        used = np.arange(live.shape[1]) < bins_of(self.schema)[:, None]
        p, q = _shares(self.counts, used), _shares(live, used)
        ratio = np.divide(q, p, out=np.ones_like(p), where=used)
        return np.asarray(((q - p) * np.log(ratio)).sum(axis=1))

    def psi_by_chance(self, records: int) -> NDArray[np.float64]:
        """Return the mean PSI of m live records from the same source, (columns,).

        It is (bins - 1) (1/m + 1/n): a column of 100 categories has 0.2 at 500 records although
        nothing has changed.
        """
        reference = np.maximum(self.counts.sum(axis=1), 1)
        return np.asarray((bins_of(self.schema) - 1) * (1 / records + 1 / reference))

    def changed(self, table: Table) -> tuple[Changed, ...]:
        """Return the columns that have changed much, and more than chance explains, most first.

        By chance a PSI times mn / (m + n) is about chi-squared, with a degree of freedom less than
        the column has bins.
        """
        psi, chance = self.psi(self.count(table)), self.psi_by_chance(len(table))
        freedom = bins_of(self.schema) - 1
        excess = psi - chance
        much = excess > np.maximum(MUCH, SURE * chance * np.sqrt(2 / freedom))
        order = np.argsort(-excess, kind="stable")
        return tuple(Changed(self.schema.names[j], float(psi[j])) for j in order if much[j])


def _shares(counts: NDArray[np.int64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    smoothed = (counts + 0.5) * used
    return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True))


def bins_of(schema: Schema) -> NDArray[np.int64]:
    """Return the number of bins of each column, the one for missing values included, (C,)."""
    discrete = {column.name: _bins_of_codes(column) for column in schema.discrete}
    return np.array([discrete.get(name, BINS + 1) for name in schema.names], dtype=np.int64)


def _bins_of_codes(column: Column) -> int:
    """Return the bins of a discrete column: one for each code, in their order, but one for all
    categories beyond PLACES. The last two are the other values, if it has any, and missing ones.
    """
    return missing_code(column) + 1 - max(len(column.categories) - PLACES - 1, 0)


def _binned(column: Column, codes: NDArray[np.int32]) -> NDArray[np.int32]:
    together = len(column.categories) - PLACES - 1
    if together <= 0:
        return codes
    return np.minimum(codes, PLACES) + np.maximum(codes - PLACES - together, 0)


def quantile_edges(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deciles of (N, numeric columns), (numeric columns, BINS - 1); 0 for a column
    without values. Those of a constant that is not whole lie a float32's rounding below it.
    """
    edges = np.zeros((numbers.shape[1], BINS - 1))
    for j, column in enumerate(numbers.T):
        values = column[~np.isnan(column)]
        if len(values):
            edges[j] = np.quantile(values, np.arange(1, BINS) / BINS)
            constant = edges[j, 0] == values.max()
            if constant and not edges[j, 0].is_integer():  # its float32 may lie below it
                edges[j] -= abs(edges[j, 0]) * FLOAT32_ROUNDING / 2
    return edges


def count_bins(schema: Schema, edges: NDArray[np.float64], table: Table) -> NDArray[np.int64]:
    """Count the records in each bin of each column, (columns, width)."""
    out = np.zeros((len(schema.columns), int(bins_of(schema).max())), dtype=np.int64)
    place = {name: i for i, name in enumerate(schema.names)}
    if schema.numeric:
        numeric = [place[column.name] for column in schema.numeric]
        out[numeric, : BINS + 1] = _count_numbers(edges, table.numbers)
    for j, column in enumerate(schema.discrete):
        own = _binned(column, table.codes[:, j])
        out[place[column.name]] = np.bincount(own, minlength=out.shape[1])
    return out


def count_true(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the true values along the last axis, of at most 65,535, (..., N) -> (...).

    Summing small integers is twice as fast as summing booleans.
    """
    small = np.uint8 if mask.shape[-1] < 256 else np.uint16
    return np.asarray(mask.view(np.uint8).sum(axis=-1, dtype=small), np.int64)


def _count_numbers(edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count values between a column's edges, (numeric columns, BINS + 1); the last bin counts the
    missing ones.
    """
    columns = np.ascontiguousarray(numbers.T)
    missing = np.count_nonzero(np.isnan(columns), axis=1)
    counts = np.zeros((len(columns), BINS + 1), np.int64)
    counts[:, 0] = len(numbers) - missing
    counts[:, 1:BINS] = (_few if len(numbers) <= FEW else _many)(edges, columns)  # above each edge
    counts[:, :BINS] -= counts[:, 1:]
    counts[:, BINS] = missing
    return counts


def _few(edges: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.int64]:
    """Compare all columns with all their edges in one call."""
    return count_true(columns[:, None, :] >= edges[:, :, None])


def _many(edges: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.int64]:
    """Compare a column once with each distinct edge: a column that is nearly always 0 has few."""
    above = []
    for edge, column in zip(edges.tolist(), columns, strict=True):
        at_least = {value: np.count_nonzero(column >= value) for value in set(edge)}
        above.append([at_least[value] for value in edge])
    return np.array(above, np.int64)
