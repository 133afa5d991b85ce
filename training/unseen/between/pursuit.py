"""a column of a table -> the other terms that it may have a relation with.

By orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad, 1993): the next one explains most
of what the last ones left, until the limits of the residuals are narrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vaewatch.training.unseen.between.fitted import Fit
from vaewatch.training.unseen.between.terms import Numbers, Terms

MOST_OTHERS, MOST_BESIDE_PRODUCTS = 8, 4  # terms: many products follow any smooth curve
NARROW, NARROW_OF_CURVES = 0.1, 0.005  # of the difference of two records: the limits at most
EXACT = 1e-7  # of it: limits that are as narrow as can be
GAIN = 2.0  # by how much each further term narrows the limits at least
LEAST_SHARE = 0.05  # of the variance that is left: what the next term explains
COLLINEAR = 1e-8  # of its variance: what the chosen ones leave of a term that they imply


@dataclass(frozen=True)
class Pursuit:
    """Looks for the other terms of each column.

    Attributes:
        terms: of N records.
        gram: (T, T) the correlations of the terms; what is missing is as the mean.
        deviations, differences: (columns,) of each one's numbers, and of two records that differ
            by the median.
    """

    terms: Terms
    gram: Numbers
    deviations: Numbers
    differences: Numbers

    @classmethod
    def of(cls, terms: Terms) -> Pursuit:
        x, own = terms.of(range(len(terms))), terms.x.shape[1]
        given = ~np.isnan(x)
        count = given.sum(0).clip(min=1)
        size = np.where(given, np.abs(x), 0.0).max(0)  # so that no square is too large
        x /= np.where(size > 0, size, 1.0)
        centred = np.where(given, x - np.where(given, x, 0.0).sum(0) / count, 0.0)
        deviations = np.sqrt((centred**2).sum(0) / count)
        scaled = centred / np.where(deviations > 0, deviations, 1.0)
        gram = scaled.T @ scaled / np.sqrt(np.outer(count, count))
        differences = np.array([difference(each[~np.isnan(each)]) for each in terms.x.T])
        return cls(terms, gram, (deviations * size)[:own], differences)

    def best(self, target: int) -> Fit | None:
        """Return the narrowest relation of a column; None if it has none."""
        best: Fit | None = None
        for places in self._longer(target):
            fit = Fit.of(self.terms, places)
            if fit is None:
                break
            narrow = narrowness(self.terms.is_product(places)) * self.differences[target]
            if fit.limits.width <= (narrow if best is None else best.limits.width / GAIN):
                best = fit
            if fit.limits.width <= EXACT * self.differences[target]:
                break
        return None if best is None else self._shorter(best)

    def _longer(self, target: int) -> Iterator[tuple[int, ...]]:
        """Yield a column and ever more terms, where these leave little enough of it."""
        gram, others = self.gram, list[int]()
        enough = (NARROW * self.differences[target] / self.deviations[target]) ** 2
        itself = list(self.terms.of_which(target))
        most = MOST_OTHERS
        while len(others) < min(most, len(gram) - 1):
            chosen = gram[np.ix_(others, others)]
            explained = np.linalg.pinv(chosen, rcond=COLLINEAR, hermitian=True) @ gram[others]
            rest = gram[target] - gram[target, others] @ explained
            variance = np.diag(gram) - (gram[others] * explained).sum(0)
            free = variance > COLLINEAR * np.diag(gram)
            free[[*itself, *others]] = False
            gains = np.where(free, rest**2 / np.where(free, variance, 1.0), 0.0)
            best = int(gains.argmax())
            if gains[best] <= LEAST_SHARE * max(rest[target], 0.0):
                return
            others.append(best)
            if self.terms.is_product(others):
                most = MOST_BESIDE_PRODUCTS
            if rest[target] - gains[best] <= enough:
                yield (target, *others)

    def _shorter(self, fit: Fit) -> Fit:
        """Return the fit without the terms that narrow it by less than the gain."""
        exact = EXACT * self.differences[fit.places[0]]
        for place in fit.places[1:]:
            rest = tuple(other for other in fit.places if other != place)
            less = Fit.of(self.terms, rest) if len(rest) > 1 else None
            if less is not None and less.limits.width <= max(GAIN * fit.limits.width, exact):
                fit = less
        return fit


def narrowness(follows_curves: bool) -> float:
    """Return how narrow limits must be, of the difference of two records; narrower where products,
    or lines for groups, follow many curves roughly.
    """
    return NARROW_OF_CURVES if follows_curves else NARROW


def difference(numbers: Numbers) -> float:
    """Return by how much two of (n,) numbers differ that do, by the median; infinity if all are
    the same.
    """
    apart = np.abs(numbers - np.roll(numbers, len(numbers) // 2))
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else np.inf
