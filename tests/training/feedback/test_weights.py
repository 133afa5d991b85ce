"""What each part of a score weighs, by marks of alarms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vaewatch.training.feedback.weights import (
    MOST,
    NORMALS,
    PENALTY,
    Examples,
    Factors,
    Marked,
    _fit,
    learn,
)

Floats = NDArray[np.float64]


def normals(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).gamma(2.0, 5.0, (n, 3))


def marked(parts: Floats, first: int = 0) -> Marked:
    return Marked(parts, np.arange(first, first + len(parts)))


def by_part(part: int, n: int, seed: int) -> Floats:
    """Alarms that one part of the score raises."""
    out = normals(n, seed)
    out[:, part] += 40
    return out


def test_the_part_that_tells_confirmed_from_false_alarms_weighs_more():
    true, false = marked(by_part(1, 40, 1)), marked(by_part(2, 40, 2), 40)
    found = learn(Examples(true, false, normals(500)), Factors())
    assert found.taken and found.gain and found.gain_error and found.gain > found.gain_error
    assert found.factors.kl > 1.5 and found.factors.neighbour < 0.7


def test_marks_that_say_nothing_of_the_parts_leave_them_as_they_are():
    taken = 0
    for seed in range(20):
        alarms = 4 * normals(20, seed)
        examples = Examples(marked(alarms[:10]), marked(alarms[10:], 10), normals(500, 100 + seed))
        found = learn(examples, Factors())
        taken += found.factors != Factors()
    assert taken <= 5


def test_too_few_confirmed_marks_change_nothing():
    false = marked(by_part(2, 40, 2), 40)
    found = learn(Examples(marked(by_part(1, 2, 1)), false, normals(500)), Factors(2.0, 1.0))
    assert found.factors == Factors(2.0, 1.0) and found.gain is None and not found.taken


def test_no_factor_goes_beyond_its_bound():
    true, false = marked(by_part(1, 2000, 1)), marked(by_part(2, 2000, 2), 2000)
    found = learn(Examples(true, false, normals(500)), Factors())
    assert found.factors.kl == pytest.approx(MOST) and found.factors.neighbour > 1 / MOST - 1e-9


def test_all_alarms_of_one_incident_weigh_as_much_as_one():
    few, false = by_part(1, 8, 1), marked(by_part(2, 8, 2), 8)
    many = np.repeat(few, 50, axis=0)
    once = _fit(Examples(marked(few), false, normals(300)))
    often = _fit(Examples(Marked(many, np.repeat(np.arange(8), 50)), false, normals(300)))
    np.testing.assert_allclose(once.factors.logs, often.factors.logs, atol=1e-4)


def test_the_factors_are_where_the_penalised_likelihood_is_largest():
    """Against a search on a grid, whose value is summed by a loop."""
    examples = Examples(marked(by_part(1, 6, 1)), marked(by_part(2, 6, 2), 6), normals(40))
    line = _fit(examples)

    def value(kl: float, neighbour: float) -> float:
        own = _fit(examples, Factors(kl, neighbour))
        total = PENALTY * (np.log(kl) ** 2 + np.log(neighbour) ** 2)
        total += 0.05 * np.log(own.slope) ** 2
        for rows, sign, weight in (
            (examples.confirmed.parts, 1, 1.0),
            (examples.false.parts, -1, 1.0),
            (examples.normals, -1, NORMALS * 6 / 40),
        ):
            for row in rows:
                score = row[0] + kl * row[1] + neighbour * row[2]
                odds = own.intercept + own.slope * (np.log(score) - own.middle)
                total += weight * np.log1p(np.exp(-sign * odds))
        return float(total)

    steps = np.exp(np.linspace(-0.3, 0.3, 7))
    grid = [
        (value(line.factors.kl * a, line.factors.neighbour * b), a, b)
        for a in steps
        for b in steps
    ]
    assert min(grid)[1:] == (1.0, 1.0)
