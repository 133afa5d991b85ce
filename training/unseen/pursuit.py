"""a column of a table -> the others that it may have a relation with.

By orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad, 1993): the next one explains most
of what the last ones left, until the limits of the residuals are narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vaewatch.training.unseen.fitted import Fit, Numbers

MOST_OTHERS = 8
NARROW = 0.1  # of the difference of two records: the limits of a relation at most
EXACT = 1e-7  # of it: limits that are as narrow as can be
GAIN = 2.0  # by how much each further column narrows the limits at least
LEAST_SHARE = 0.05  # of the variance that is left: what the next column explains
COLLINEAR = 1e-8  # of its variance: what the chosen ones leave of a column that they imply


@dataclass(frozen=True)
class Pursuit:
    """Looks for the others of each column.

    Attributes:
        x: (N, columns), NaN where missing.
        gram: (columns, columns) their correlations; what is missing is as the mean.
        deviations, differences: (columns,) of each one's numbers, and of two records that differ
            by the median.
        left: (columns,) the share of each one's variance that all others leave.
    """

    x: Numbers
    gram: Numbers
    deviations: Numbers
    differences: Numbers
    left: Numbers

    @classmethod
    def of(cls, x: Numbers) -> Pursuit:
        given = ~np.isnan(x)
        count = given.sum(0).clip(min=1)
        centred = np.where(given, x - np.where(given, x, 0.0).sum(0) / count, 0.0)
        deviations = np.sqrt((centred**2).sum(0) / count)
        scaled = centred / np.where(deviations > 0, deviations, 1.0)
        gram = scaled.T @ scaled / np.sqrt(np.outer(count, count))
        inverse = np.linalg.pinv(gram + COLLINEAR * np.eye(len(gram)), hermitian=True)
        left = 1 / np.diag(inverse).clip(min=1.0)
        differences = np.array([difference(own[~np.isnan(own)]) for own in x.T])
        return cls(x, gram, deviations, differences, left)

    def best(self, target: int) -> tuple[int, ...] | None:
        """Return a column and the others of its narrowest relation; None if it has none."""
        best: Fit | None = None
        narrow = NARROW * self.differences[target]
        for columns in self._longer(target):
            fit = Fit.of(self.x, columns)
            if fit is None:
                break
            if fit.width <= (narrow if best is None else best.width / GAIN):
                best = fit
            if fit.width <= EXACT * self.differences[target]:
                break
        return None if best is None else self._shorter(best)

    def _longer(self, target: int) -> Iterator[tuple[int, ...]]:
        """Yield a column and ever more others, where these leave little enough of it."""
        gram, others = self.gram, list[int]()
        enough = (NARROW * self.differences[target] / self.deviations[target]) ** 2
        if not self.left[target] <= enough:
            return
        while len(others) < min(MOST_OTHERS, len(gram) - 1):
            chosen = gram[np.ix_(others, others)]
            explained = np.linalg.pinv(chosen, rcond=COLLINEAR, hermitian=True) @ gram[others]
            rest = gram[target] - gram[target, others] @ explained
            variance = np.diag(gram) - (gram[others] * explained).sum(0)
            free = variance > COLLINEAR * np.diag(gram)
            free[[target, *others]] = False
            gains = np.where(free, rest**2 / np.where(free, variance, 1.0), 0.0)
            best = int(gains.argmax())
            if gains[best] <= LEAST_SHARE * max(rest[target], 0.0):
                return
            others.append(best)
            if rest[target] - gains[best] <= enough:
                yield (target, *others)

    def _shorter(self, fit: Fit) -> tuple[int, ...]:
        """Return the columns of a fit but those that narrow it by less than the gain."""
        exact = EXACT * self.differences[fit.columns[0]]
        for column in fit.columns[1:]:
            rest = tuple(other for other in fit.columns if other != column)
            less = Fit.of(self.x, rest) if len(rest) > 1 else None
            if less is not None and less.width <= max(GAIN * fit.width, exact):
                fit = less
        return fit.columns


def difference(numbers: Numbers) -> float:
    """Return by how much two of (n,) numbers differ that do, by the median; infinity if all are
    the same.
    """
    apart = np.abs(numbers - np.roll(numbers, len(numbers) // 2))
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else np.inf
