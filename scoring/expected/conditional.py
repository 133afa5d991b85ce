"""errors in all other columns -> what they leave open of a column's own.

The errors r of normal records are taken as normal, with covariance Sigma. With z = r Sigma^-1 and
G the features of a column, its errors have the covariance (Sigma^-1_GG)^-1 given all others, and
exceed their mean by z_G (Sigma^-1_GG)^-1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.precision import Floats, Precision


@dataclass(frozen=True)
class Conditional:
    """Columns, each given all others.

    Attributes:
        alike: of G columns with K features each, these features, (G, K), and the covariance of
            their errors, (G, K, K).
    """

    alike: tuple[tuple[NDArray[np.int64], NDArray[np.float32]], ...]

    @classmethod
    def of(cls, precision: Precision, columns: Collection[Sequence[int]]) -> Conditional:
        """Return what is left open of columns with these features."""
        alike = []
        for size in sorted({len(own) for own in columns} - {0}):
            features = np.array([own for own in columns if len(own) == size])
            covariance = np.linalg.inv(precision.among(features))
            alike.append((features, covariance.astype(np.float32)))
        return cls(tuple(alike))

    def beyond(self, weighed: Floats) -> Floats:
        """Return by how much errors exceed what goes with those in the other columns, (N, D).

        Args:
            weighed: (N, D) r Sigma^-1.
        """
        out = np.zeros_like(weighed)
        for features, covariance in self.alike:
            own = weighed[:, features].swapaxes(0, 1) @ covariance
            out[:, features] = own.swapaxes(0, 1)
        return out
