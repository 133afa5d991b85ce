"""columns of a table -> exclusions: what a value never came with, however often it could have.

If two values could have come together 100 times or more
(`vaewatch.training.unseen.between.together`), and never did, then the columns depend on each
other, and what has been ruled out so often will hardly come: of a share p of the records n have
none with a chance of (1 - p)^n. So it is with several values of a column together, which may be
rare, if a value is confined to the others, and these come again and again. And if each value of a
column came with one value of another one only, it determines that one, as a station its postcode:
a value that came once rules all others out, too.

Of a column in which 0 is a value of its own (`vaewatch.training.unseen.zeros`), nothing here may
rule out something there.

An hour is ruled out only if it, and the hours beside it, could have come with a value on many
days, and a weekday in many weeks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.known import GIVEN, KNOWN, MISSING
from vaewatch.scoring.features.state import Exclusion
from vaewatch.training.unseen.between.ranges import ranges_of
from vaewatch.training.unseen.between.together import Together
from vaewatch.training.unseen.levels import LEAST_OF_LEVEL

EXPECTED = 100  # times that what never came could have
CONFINED = 0.5  # of what could have come with a value never did
DETERMINED = 1000  # times that another value could have come than the one that is determined
SEARCHED = 20_000  # records that are searched before all are looked at
MOST_PAIRS = 10_000  # events that exclude each other, so that the manifest stays small
# Of columns with many names, whose pairs would push out those of all others:
MOST_CODES = 50_000  # in the manifest
MOST_CELLS = 20_000_000  # pairs of events, of the columns that exclude some: bytes of memory
MOST_LOOKED = 200_000_000  # pairs of events that are looked at, in a tenth of a microsecond each

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Numbers = NDArray[np.float64]


def exclusions_of(every: Together | None) -> tuple[Exclusion, ...]:
    """Return what excludes each other in N records."""
    if every is None:
        return ()
    some = every.some(SEARCHED)
    found: dict[tuple[str, int, str], Exclusion] = {}
    for one in (*_pairs(every, some), *ranges_of(every, some, EXPECTED)):
        key = one.column, one.code, one.other
        old = found.get(key, one)
        events, limits = old.events or one.events, old.limits or one.limits
        found[key] = Exclusion(*key, events, limits, old.but or one.but)
    return tuple(found.values())


def _pairs(every: Together, some: Together) -> Iterator[Exclusion]:
    """Yield events that never came together; where there are too many, those that could have come
    most often.
    """
    found: dict[tuple[int, int], Numbers] = {}
    varying = [c for c, own in enumerate(every.counts) if np.count_nonzero(own.sum(0)) > 1]
    pairs = [(left, right) for right, left in combinations(varying, 2)]  # first those of numbers
    for left, right in pairs:
        if every.is_long(left) or every.is_long(right):
            continue
        out = _excluded(every, some, left, right)
        if out is not None:
            found[left, right] = out
    least = _nth_largest([own[own > 0] for own in found.values()], MOST_PAIRS)
    for (left, right), own in found.items():
        kept = own >= least
        for code in np.flatnonzero(kept.any(1)).tolist():
            events = tuple(np.flatnonzero(kept[code]).tolist())
            yield Exclusion(every.names[left], code, every.names[right], events)
    yield from _of_long([p for p in pairs if any(map(every.is_long, p))], every, some)


def _of_long(pairs: list[tuple[int, int]], every: Together, some: Together) -> Iterator[Exclusion]:
    """Yield the same of pairs of columns of which one has many names, smaller ones first; where
    there are too many, those of the values that could have come most often with what they exclude.
    """
    cells, looked, found, often = 0, 0, [], []
    for left, right in sorted(pairs, key=lambda p: every.sizes[p[0]] * every.sizes[p[1]]):
        size = every.sizes[left] * every.sizes[right]
        looked += size
        if looked > MOST_LOOKED or cells + size > MOST_CELLS:
            break
        out = _excluded(every, some, left, right)
        if out is None:
            continue
        cells += size
        for code in np.flatnonzero(out.any(1)).tolist():
            found.append(_one(every, left, code, right, out[code] > 0))
            often.append(float(out[code].sum()))
    codes = 0
    for at in np.argsort(-np.array(often), kind="stable").tolist():
        codes += len(found[at].events if found[at].but is None else found[at].but or ())
        if codes > MOST_CODES:
            break
        yield found[at]


def _one(every: Together, left: int, code: int, right: int, out: Bools) -> Exclusion:
    """Return what a value excludes, (right events,), in the shorter way to write it."""
    events, but = (tuple(np.flatnonzero(each).tolist()) for each in (out, ~out))
    key = every.names[left], code, every.names[right]
    if every.discrete[right] and len(but) < len(events):
        return Exclusion(*key, but=but)
    return Exclusion(*key, events)


def _excluded(every: Together, some: Together, left: int, right: int) -> Numbers | None:
    """Return how often events that exclude each other could have come together, and 0 for others,
    (left events, right events); None where none do.
    """
    chances = every.chances(left, right)
    never = some.came(left, right).sum(0) == 0
    known = every.known[left], every.known[right]
    if not _ruled_out(chances, never, np.ones_like(never), known).any():
        return None
    came = every.came(left, right)
    never = (came == 0).all(0) & every.often(left, right)
    recurs = ((came == 0).all(0)) | (came >= LEAST_OF_LEVEL).all(0)
    out = _ruled_out(chances, never, recurs, known)
    _clear_of_zeros(out, every, left, right)
    return np.where(out, chances, 0.0) if out.any() else None


def _ruled_out(chances: Numbers, never: Bools, recurs: Bools, known: tuple[Bools, Bools]) -> Bools:
    """Return which of two columns' events rule each other out, (left events, right events).

    Args:
        chances: how often they could have come together.
        never: which did not; recurs: which did not, or did again and again.
        known: (left events,) and (right events,) which are a value of its own.
    """
    out = never & (chances >= EXPECTED)
    missed = np.where(never, chances, 0.0)
    for axis in (0, 1):
        of_all = missed.sum(axis, keepdims=True)
        confined = of_all >= np.maximum(CONFINED * chances.sum(axis, keepdims=True), EXPECTED)
        out |= (missed > 0) & confined & recurs.all(axis, keepdims=True)
        came = (~never).sum(axis)
        own = known[1 - axis] & (came > 0)
        if (came[own] == 1).all() and of_all.squeeze(axis)[own].sum() >= DETERMINED:
            out |= (missed > 0) & np.expand_dims(own, axis)
    return out


def _clear_of_zeros(out: Bools, every: Together, left: int, right: int) -> None:
    """Take back what zeros of their own do not say, (left events, right events), in place: that a
    missing number rules out only some numbers, and that two columns are never 0 at once, as of
    coordinates that end there.
    """
    for own, column, other in ((out, left, right), (out.T, right, left)):
        if every.zeros[column] and not every.discrete[other]:
            own[[GIVEN, KNOWN], MISSING] = own[[GIVEN, KNOWN], MISSING].all()
    if every.zeros[left] and every.zeros[right]:
        out[KNOWN, KNOWN] = False


def _nth_largest(values: list[Numbers], n: int) -> float:
    """Return the least value that keeps at most n of those that are more than 0."""
    ascending = np.sort(np.concatenate([np.empty(0), *values]))
    if not len(ascending):
        return math.inf
    return float(ascending[max(len(ascending) - n, 0)])
