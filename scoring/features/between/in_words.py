"""what columns have to do with each other -> words for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from vaewatch.scoring.features.shared import SharedOf, names_of
from vaewatch.scoring.features.state import Exclusion, Lookup, Relation
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema

NAMED = 5  # relations, or columns
CHANCE = 0.01  # of the limits' distance: a constant that is less comes by chance
ROUNDING = 1e-9  # and one that is less than this by rounding


def words_of(relation: Relation) -> str:
    """Return a relation as people write it: `gross = net + tax`, `total = rate x nights + tax`,
    and an order: `high >= low`, `approved >= paid + deducted`.
    """
    first, *others = (" x ".join(map(one_line, factors)) for factors in relation.factors)
    if relation.high is None:
        return f"{first} >= {' + '.join(others)}"
    factors = [-weight for weight in relation.weights[1:]]
    terms = list(zip(others, factors, strict=True))
    if relation.log:
        return f"{first} = {_product(terms, relation.middle)}"
    least = max(CHANCE * (relation.high - relation.low), ROUNDING)
    return f"{first} = {_sum(terms, relation.middle if abs(relation.middle) > least else 0.0)}"


def looked_up(lookup: Lookup) -> str:
    """Return a lookup as people say it: `distance by origin and destination`, `price by service, a
    line of weight`.
    """
    out = f"{one_line(lookup.column)} by {' and '.join(map(one_line, lookup.by))}"
    return out if lookup.along is None else f"{out}, a line of {one_line(lookup.along)}"


def facts_of(
    relations: Sequence[Relation], exclusions: Sequence[Exclusion], lookups: Sequence[Lookup]
) -> Iterator[tuple[str, str]]:
    """Yield a name and a sentence for each kind of rule that there is."""
    for name, is_order in (("relations", False), ("orders", True)):
        own = [words_of(each) for each in relations if (each.high is None) == is_order]
        if own:
            yield name, _listed(own, "; ")
    if lookups:
        yield "lookups", _listed([looked_up(each) for each in lookups], "; ")
    if exclusions:
        columns = dict.fromkeys(one_line(each.column) for each in exclusions)
        count = "1 value" if len(exclusions) == 1 else f"{len(exclusions):,} values"
        verb = "excludes" if len(exclusions) == 1 else "exclude"
        yield (
            "exclusions",
            f"{count} of {_listed(list(columns), ', ')} {verb} some of another column",
        )


def names_in_words(schema: Schema, shared: SharedOf) -> Iterator[tuple[str, str]]:
    """Yield a name and how many categories of each column the network does not tell apart."""
    some = [(column, shared[column.name]) for column in schema.columns if column.name in shared]
    own = [
        f"{names_of(column, counts):,} of {len(column.categories):,} of {one_line(column.name)}"
        for column, counts in some
    ]
    if own:
        yield "names", f"{_listed(own, ', ')} share one indicator"


def _sum(terms: Sequence[tuple[str, float]], constant: float) -> str:
    out = ""
    for name, factor in terms:
        size = f"{abs(factor):.4g}"
        own = name if size == "1" else f"{size} {name}"
        out += f" {'-' if factor < 0 else '+'} {own}"
    if constant:
        out += f" {'-' if constant < 0 else '+'} {abs(constant):.4g}"
    return out[3:] if out.startswith(" +") else f"-{out[3:]}"


def _product(terms: Sequence[tuple[str, float]], constant: float) -> str:
    factor = f"{math.exp(constant):.4g}"
    over = [_power(name, power) for name, power in terms if power > 0]
    under = [_power(name, -power) for name, power in terms if power < 0]
    above = ([] if factor == "1" and over else [factor]) + over
    return " / ".join([" x ".join(above), *under])


def _power(name: str, power: float) -> str:
    size = f"{power:.3g}"
    return name if size == "1" else f"{name}^{size}"


def _listed(texts: Sequence[str], between: str) -> str:
    more = f"{between}and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return between.join(texts[:NAMED]) + more
