"""whitened residuals -> reasons: which columns raised a score, and what was expected of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features import Value, Vectorizer
from vaewatch.scoring.precision import Floats, Precision
from vaewatch.scoring.standardise import Features
from vaewatch.scoring.table import Table


@dataclass(frozen=True)
class Reason:
    """One column's share of a score, in nats, with the observed and the expected value."""

    column: str
    observed: Value
    expected: Value
    contribution: float

    def __str__(self) -> str:
        return f"{self.column} is {_shown(self.observed)}, expected {_shown(self.expected)}"


def _shown(value: Value) -> str:
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
    """Shares of N scores by column.

    Attributes:
        contributions: (N, C) nats; each row sums to the reconstruction part of its score.
        reconstructed: (N, D) reconstructed features, standardised.
    """

    contributions: Floats
    reconstructed: Floats


@dataclass(frozen=True)
class Explainer:
    """Explains scores by column. Only records that get reasons pay for it.

    Attributes:
        unseen: nats that each unseen value costs.
    """

    vectorizer: Vectorizer
    precision: Precision
    unseen: float

    def explain(self, features: Features, whitened: Floats) -> Explanation:
        """Split the reconstruction part of N scores by column.

        A feature contributes 1/2 r_j (Sigma^-1 r)_j, averaged over the members; a column the sum
        of its features.

        Args:
            whitened: (N, S, D) whitened residuals of N records by S members.
        """
        members = whitened.shape[1]
        residuals = self.precision.unwhiten(whitened)
        by_feature = (residuals * self.precision.weigh(whitened)).sum(1) * (0.5 / members)
        by_column = by_feature @ self.vectorizer.column_map
        contributions = by_column + self.unseen * features.unseen
        return Explanation(contributions, features.values - residuals.sum(1) / members)

    def reasons(
        self, table: Table, rows: NDArray[np.int64], explanation: Explanation, most: int
    ) -> list[tuple[Reason, ...]]:
        """Return, for each of these rows of a table, the columns that contributed most."""
        top = np.argsort(-explanation.contributions, axis=1, kind="stable")[:, :most]
        shares = explanation.contributions[np.arange(len(top))[:, None], top]
        raw = self.vectorizer.raw(explanation.reconstructed)
        columns, expected = table.schema.columns, self.vectorizer.expected
        return [
            tuple(
                Reason(c.name, table.observed(row, c), expected(record, c), share)
                for c, share in zip(map(columns.__getitem__, places), own, strict=True)
                if share > 0
            )
            for row, record, places, own in zip(
                rows.tolist(), raw, top.tolist(), shares.tolist(), strict=True
            )
        ]
