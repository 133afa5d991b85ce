"""What each drawn column is by itself: a number's quantiles in the fit data, an event's share.

A Gaussian decoder smears: a column that is 0 nine times in ten comes out a little above and below
0. The order of its draws is more faithful than their values. So each draw is replaced by the
quantile at its rank among all draws: each column by itself is distributed as in the fit data, and
the dependence between columns is the decoder's (a copula; Sklar, 1959). So too with an event:
which records it comes with is the decoder's, how often it comes is the fit data's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from vaewatch.scoring.artifact import MARGINALS
from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.damage import BROKEN, damaged
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.table import Table
from vaewatch.training.export.weights import require_kept

QUANTILES = 257
ROWS = 20_000  # values of a column, evenly spread; more would not move 257 quantiles
ROUNDS = 100  # of scaling at most; a few are enough unless an event is likely nowhere
NEAR = 1e-4  # a share that is this close is met

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Marginals:
    """quantiles: for each numeric column, (QUANTILES,) values from its least to its largest."""

    quantiles: Mapping[str, Floats]

    @classmethod
    def of(cls, table: Table) -> Marginals:
        at = np.linspace(0, 1, QUANTILES)
        columns = zip(table.schema.numeric, map(_spread, table.numbers.T), strict=True)
        return cls({column.name: np.quantile(x, at) for column, x in columns if len(x)})

    def place(self, column: str, draws: Floats) -> Floats:
        """(N,) draws on any scale -> (N,) numbers in the column's units, in the same order.

        Raises:
            ArtifactError: the column has no quantiles, as in some artifacts of 2026-11 and before.
        """
        if column not in self.quantiles:
            raise ArtifactError(
                f"the artifact must have quantiles of column '{one_line(column)}', but has none. "
                "Train it again."
            )
        ranks = np.empty(len(draws))
        ranks[np.argsort(draws, kind="stable")] = np.arange(len(draws))
        quantiles = self.quantiles[column]
        at = np.linspace(0, 1, len(quantiles))
        return np.interp((ranks + 0.5) / len(draws), at, quantiles)

    def to_bytes(self) -> bytes:
        return save_tensors(dict(self.quantiles))


def in_shares(weights: Floats, shares: Floats) -> Floats:
    """Scale (N, K) weights of K events, at least 0, to probabilities: each row sums to 1, and each
    column's mean is its share, of (K,) that sum to 1.

    Columns and rows are scaled in turn (iterative proportional fitting; Deming and Stephan, 1940),
    which keeps how much likelier than another an event is in one record than in another.
    """
    chances = weights + 1e-12
    chances /= chances.sum(1, keepdims=True)
    for _ in range(ROUNDS):
        found = chances.mean(0)
        if np.abs(found - shares).max() < NEAR:
            break
        chances *= shares / found
        chances /= chances.sum(1, keepdims=True)
    return chances


def _spread(column: Floats) -> Floats:
    """Return the values that are given, about ROWS of many."""
    given = column[~np.isnan(column)]
    return given[:: max(1, len(given) // ROWS)]


def load_marginals(path: Path) -> Marginals:
    """Read the marginals of an artifact.

    Raises:
        ArtifactError: the artifact holds none, or none that training can have made.
    """
    content = require_kept(path, MARGINALS)
    try:
        quantiles = load_tensors(content)
    except (*BROKEN, SafetensorError) as error:
        raise damaged(path, error) from error
    for values in quantiles.values():
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ArtifactError(f"'{path}' is damaged: its marginals must be finite quantiles.")
    return Marginals(quantiles)
