"""whitened residuals -> reasons: which columns made a score, what they held, what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoring.features import Vectorizer
from scoring.precision import Floats, Precision
from scoring.records import Table
from scoring.standardise import Features


@dataclass(frozen=True)
class Reason:
    """Why a record scored high: a column, what it held, what the network expected, and its share
    of the score in nats.
    """

    column: str
    observed: float | str | bool | None
    expected: float | str | bool | None
    contribution: float

    def __str__(self) -> str:
        return f"{self.column} is {_shown(self.observed)}, expected {_shown(self.expected)}"


def _shown(value: float | str | bool | None) -> str:
    if value is None:
        return "missing"
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else str(value).lower()
        if value is True or value is False
        else str(value)
    )


@dataclass(frozen=True)
class Explanation:
    """contributions: (N, C) nats, they sum to the reconstruction part of the score.
    reconstructed: (N, D) the features that the network expected.
    """

    contributions: Floats
    reconstructed: Floats


@dataclass(frozen=True)
class Explainer:
    """What an explanation takes beyond a pass of the network: only records with reasons need it.

    novelty: nats of a first-time event.
    """

    vectorizer: Vectorizer
    precision: Precision
    novelty: float

    def explain(self, features: Features, whitened: Floats) -> Explanation:
        """(N, S, D) whitened residuals of N records.

        A feature's contribution is 1/2 r_j (Sigma^-1 r)_j, a column's the sum of its features'.
        """
        residuals = self.precision.unwhiten(whitened)
        by_feature = 0.5 * (residuals * self.precision.weigh(whitened)).mean(1)
        by_column = by_feature @ self.vectorizer.column_map
        contributions = by_column + self.novelty * features.first_time
        return Explanation(contributions, features.values - residuals.mean(1))

    def reasons(
        self, table: Table, rows: NDArray[np.int64], explanation: Explanation, most: int
    ) -> list[tuple[Reason, ...]]:
        """Of each of these rows of a table, the columns that added most."""
        shares = explanation.contributions
        top = np.argsort(-shares, axis=1, kind="stable")[:, :most].tolist()
        return [
            tuple(
                self._reason(table, row, c, explanation.reconstructed[i], float(shares[i, c]))
                for c in columns
                if shares[i, c] > 0
            )
            for i, (row, columns) in enumerate(zip(rows.tolist(), top, strict=True))
        ]

    def _reason(
        self, table: Table, row: int, at: int, reconstructed: NDArray[Any], share: float
    ) -> Reason:
        column = table.schema.columns[at]
        expected = self.vectorizer.expected(reconstructed, column)
        return Reason(column.name, table.observed(row, column), expected, share)
