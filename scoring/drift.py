"""Table -> how each column's values are spread, and how far that is from the reference.

The population stability index of a column with reference shares p and live shares q over the same
bins is PSI = sum((q - p) ln(q / p)): below 0.1 little has changed, above 0.25 much has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Schema, missing_code
from vaewatch.scoring.table import Table

BINS = 10
FEW = 1000  # records: up to here the number of steps decides, and not what they do to a record


@dataclass(frozen=True)
class DriftReference:
    """Made by `vaewatch.training.calibration.calibrate` from normal records.

    edges: (numeric columns, BINS - 1) inner edges, deciles of the reference. A value on an edge is
    in the upper bin. counts: (columns in the schema's order, width) records in each bin; a
    column's last used bin is 'missing'.
    """

    schema: Schema
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    def count(self, table: Table) -> NDArray[np.int64]:
        """(columns, width): how many of the table's records fall in each bin."""
        return count_bins(self.schema, self.edges, table)

    def psi(self, live: NDArray[np.int64]) -> NDArray[np.float64]:
        """(columns,): PSI of live bin counts; half a record is added to each used bin so that none
        is empty.
        """
        used = np.arange(live.shape[1]) < bins_of(self.schema)[:, None]
        p, q = _shares(self.counts, used), _shares(live, used)
        ratio = np.divide(q, p, out=np.ones_like(p), where=used)
        return np.asarray(((q - p) * np.log(ratio)).sum(axis=1))

    def psi_by_chance(self, records: int) -> NDArray[np.float64]:
        """(columns,): the PSI that so many live records of the same source have on average,
        (bins - 1) (1/m + 1/n).

        A column of 100 categories has 0.2 at 500 records, and nothing has changed.
        """
        reference = np.maximum(self.counts.sum(axis=1), 1)
        return np.asarray((bins_of(self.schema) - 1) * (1 / records + 1 / reference))


def _shares(counts: NDArray[np.int64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    smoothed = (counts + 0.5) * used
    return np.asarray(smoothed / smoothed.sum(axis=1, keepdims=True))


def bins_of(schema: Schema) -> NDArray[np.int64]:
    """(columns,): how many bins each column has, 'missing' among them."""
    discrete = {column.name: missing_code(column) + 1 for column in schema.discrete}
    return np.array([discrete.get(name, BINS + 1) for name in schema.names], dtype=np.int64)


def quantile_edges(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, numeric columns) -> (numeric columns, BINS - 1) deciles; 0 where a column has no
    value.
    """
    edges = np.zeros((numbers.shape[1], BINS - 1))
    for j, column in enumerate(numbers.T):
        values = column[~np.isnan(column)]
        if len(values):
            edges[j] = np.quantile(values, np.arange(1, BINS) / BINS)
    return edges


def count_bins(schema: Schema, edges: NDArray[np.float64], table: Table) -> NDArray[np.int64]:
    """(columns, width) records in each bin of each column."""
    out = np.zeros((len(schema.columns), int(bins_of(schema).max())), dtype=np.int64)
    place = {name: i for i, name in enumerate(schema.names)}
    if schema.numeric:
        numeric = [place[column.name] for column in schema.numeric]
        out[numeric, : BINS + 1] = _count_numbers(edges, table.numbers)
    for j, column in enumerate(schema.discrete):
        out[place[column.name]] = np.bincount(table.codes[:, j], minlength=out.shape[1])
    return out


def count_true(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(..., N) -> (...): in how many of N places, at most 65,535, it is true. A sum of small
    numbers takes half of the time of one of booleans.
    """
    small = np.uint8 if mask.shape[-1] < 256 else np.uint16
    return np.asarray(mask.view(np.uint8).sum(axis=-1, dtype=small), np.int64)


def _count_numbers(edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """(numeric columns, BINS + 1): how many lie between a column's edges; the last, how many are
    missing.
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
    """All columns are compared with all their edges in one step."""
    return count_true(columns[:, None, :] >= edges[:, :, None])


def _many(edges: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.int64]:
    """A comparison for each edge of a column that differs from the others: of a column that is
    nearly always 0 most do not.
    """
    above = []
    for edge, column in zip(edges.tolist(), columns, strict=True):
        at_least = {value: np.count_nonzero(column >= value) for value in set(edge)}
        above.append([at_least[value] for value in edge])
    return np.array(above, np.int64)
