"""numbers of a table -> relations: columns that belong together in all records.

An amount is the sum of others, or a price times a count. The covariance of errors does not see
that where amounts differ a lot: a tax that is twice what it must be is a usual tax. So each column
is fitted by few others, as it is, by logarithms, and by products. The residuals have limits as the
numbers of a column have (`vaewatch.training.unseen.limits`). Where these are narrow beside what
two records differ by, the columns have a relation, and a record beyond the limits breaks it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vaewatch.scoring.features.state import Relation
from vaewatch.training.unseen.between.fitted import Fit
from vaewatch.training.unseen.between.pursuit import Pursuit, difference, narrowness
from vaewatch.training.unseen.between.terms import Numbers, Terms
from vaewatch.training.unseen.between.varied import Varied, varies
from vaewatch.training.unseen.order import spread

SEARCHED = 4_000  # records among which the columns of each are sought
LEAST_LOGS = 10  # values of a column that has a power


def relations_of(varied: Varied) -> tuple[Relation, ...]:
    """Return the relations between numeric columns, the narrowest first; of each set of columns
    one.
    """
    names, x = varied.names, varied.x
    found: dict[frozenset[str], tuple[float, Relation]] = {}
    logs = Terms.columns(_logs(x))
    for terms in (Terms.columns(x), logs, Terms.products(x)):
        own = [tuple(names[column] for column in factors) for factors in terms.factors]
        for narrow, fit in _fits(terms):
            columns = frozenset(name for place in fit.places for name in own[place])
            if narrow < found.get(columns, (math.inf,))[0]:
                found[columns] = narrow, fit.relation(own, log=terms is logs)
    return tuple(relation for _, relation in sorted(found.values(), key=lambda each: each[0]))


def _logs(x: Numbers) -> Numbers:
    """Return logarithms; NaN of what has none, and of columns that hardly have any, or so few that
    some power follows any rule through them.
    """
    logs = np.log(np.where(x > 0, x, np.nan))
    few = [len(np.unique(own)) <= LEAST_LOGS or not varies(own) for own in logs.T]  # and a NaN
    logs[:, few] = np.nan
    return logs


def _fits(terms: Terms) -> Iterator[tuple[float, Fit]]:
    """Yield the relations of each column, and how narrow they are."""
    pursuit = Pursuit.of(terms.take(spread(len(terms.x), SEARCHED)))
    for target in range(terms.x.shape[1]):
        best = pursuit.best(target)
        fit = Fit.of(terms, best.places) if best else None
        if fit is not None:
            narrow = fit.limits.width / difference(fit.y)
            enough = narrowness(terms.is_product(fit.places))
            if narrow <= enough and fit.holds_in_halves(terms):
                yield narrow, fit
