"""one column by other terms, least squares -> Fit: residuals, and the limits that these have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.same import FLOAT32_ROUNDING
from vaewatch.scoring.features.state import Relation
from vaewatch.training.unseen.between.terms import Numbers, Terms
from vaewatch.training.unseen.levels import ENOUGH
from vaewatch.training.unseen.limits import Around


@dataclass(frozen=True)
class Fit:
    """A column by K other terms, of the records that have them all.

    Attributes:
        places: (1 + K,) of the terms, that of the fitted column first. rows: (n,) the records.
        design: (n, 1 + K) a one, and the other terms. y: (n,) the fitted column.
        weights: (1 + K,) by which the design is multiplied.
    """

    places: tuple[int, ...]
    rows: NDArray[np.int64]
    design: Numbers
    y: Numbers
    weights: Numbers

    @classmethod
    def of(cls, terms: Terms, places: Sequence[int]) -> Fit | None:
        """Return the fit to N records; None if too few of them have what it takes."""
        rows = np.flatnonzero(~np.isnan(terms.of(places)).any(1))
        return cls.within(terms, places, rows) if len(rows) >= ENOUGH else None

    @classmethod
    def within(cls, terms: Terms, places: Sequence[int], rows: NDArray[np.int64]) -> Fit:
        """Return the fit to records that have all of the terms."""
        own = terms.take(rows).of(places)
        y, design = own[:, 0], np.column_stack([np.ones(len(rows)), own[:, 1:]])
        size = np.abs(design).max(0)
        size[size == 0] = 1.0
        weights = np.linalg.lstsq(design / size, y, rcond=None)[0] / size
        return cls(tuple(places), rows, design, y, weights)

    @cached_property
    def residuals(self) -> Numbers:
        return np.asarray(self.y - self.design @ self.weights)

    @cached_property
    def limits(self) -> Around:
        return Around.of(self.residuals)

    def holds_in_halves(self, terms: Terms) -> bool:
        """Return whether what each half of the records makes a limit holds in the other one."""
        halves = np.array_split(self.rows, 2)
        return all(
            Fit.within(terms, self.places, one).keep(Fit.within(terms, self.places, other))
            for one, other in (halves, halves[::-1])
        )

    def keep(self, other: Fit) -> bool:
        """Return whether the records of another fit keep within the limits of this one."""
        residuals = other.y - other.design @ self.weights
        size = np.abs(other.y) + np.abs(other.design * self.weights).sum(1)
        slack = FLOAT32_ROUNDING * size
        low, _, high = self.limits
        return bool(((residuals >= low - slack) & (residuals <= high + slack)).all())

    def relation(self, names: Sequence[Sequence[str]], log: bool) -> Relation:
        """Return it, given the names of each term's columns."""
        constant, limits = float(self.weights[0]), self.limits
        own = [tuple(names[place]) for place in self.places]
        return Relation(
            columns=tuple(each[0] if len(each) == 1 else each for each in own),
            weights=(1.0, *(-self.weights[1:]).tolist()),
            low=constant + limits.low,
            middle=constant + limits.middle,
            high=constant + limits.high,
            log=log,
        )
