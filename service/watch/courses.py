"""the columns behind an alarm -> lines that the console draws: observed and expected by record.

A long window is thinned out: each point stands for a few records, and shows the one among them
that is most unlike what was expected. So the page stays small, and no peak is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.vectorizer import Value
from vaewatch.scoring.series.course import Course

MOST_LINES, MOST_POINTS, MOST_TEXT = 2, 48, 80
MOST_WORST, WORST_SHARE = 3, 0.25  # of the largest error: from where on a point is marked

Shown = float | str | bool | None


class Lines(msgspec.Struct):
    """A column in the window of an alarm, the oldest record first.

    ago: how many records ago each point was. worst: the points that are most unlike.
    """

    column: str
    ago: list[int]
    observed: list[Shown]
    expected: list[Shown]
    worst: list[int]


def lines_of(courses: Sequence[Course]) -> list[Lines]:
    """Return the lines of the columns with the largest reasons."""
    return list(map(_lines, courses[:MOST_LINES]))


def _lines(course: Course) -> Lines:
    errors = course.errors + course.unseen * (1 + course.errors.max())
    edges = np.linspace(0, len(errors), min(len(errors), MOST_POINTS) + 1)
    bounds = edges.astype(int).tolist()
    points = [a + int(errors[a:b].argmax()) for a, b in zip(bounds, bounds[1:], strict=False)]
    shown = [course.at(point) for point in points]
    own = errors[points]
    worst = [k for k in np.argsort(-own, kind="stable")[:MOST_WORST].tolist() if _odd(own, k)]
    return Lines(
        course.column,
        [len(errors) - 1 - point for point in points],
        [_point(observed) for observed, _ in shown],
        [_point(expected) for _, expected in shown],
        sorted(worst),
    )


def _odd(errors: NDArray[np.float64], k: int) -> bool:
    return bool(errors[k] > 0 and errors[k] >= WORST_SHARE * errors.max())


def _point(value: Value) -> Shown:
    return float(f"{value:.6g}") if isinstance(value, float) else shortened(value)


def shortened(value: Value) -> Shown:
    """Cut a text, which anybody may have sent, to what fits on a line."""
    return value[:MOST_TEXT] if isinstance(value, str) else value
