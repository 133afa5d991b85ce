"""a window -> reasons: which columns raise its score, and where they are unlike what was expected.

A column is a reason if the score falls when its expected course takes the place of the observed
one, and the fall is its contribution, as for single records. So a reason counts in all views of
a window: the nearest kept windows, too, which often raise an alarm by themselves.

What is expected is what the VAE makes of the window. A column that is far out for all of a window
may drag that along. So where no column explains much of the score, each is left blank, and
expected by the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.reasons import LEAST_NATS, LEAST_SHARE, SPARE, Reason, shown_apart
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.series.course import Course, Units
from vaewatch.scoring.series.window import Window, run_lengths

LIMIT = 20.0  # standard deviations: the graph cuts what is further out, as odd as can be
LEAST_USUAL = 0.1  # of the mean over columns: what a column that never errs is taken to err
PASS = 8  # windows that are tried in one pass, so that activations stay in the cache

MUCH = 0.25  # of the score

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SeriesReason(Reason):
    """A column whose expected course in the window, in place of the observed one, lowers the
    score.

    Attributes:
        ago: how many records ago it is most unlike, which is what is observed and expected.
    """

    ago: int

    def __str__(self) -> str:
        observed, expected = shown_apart(self.observed, self.expected)
        if not self.ago:
            return f"{self.column} is {observed}, expected {expected}"
        records = "1 record" if self.ago == 1 else f"{self.ago} records"
        return f"{self.column}, {records} ago: {observed}, expected {expected}"


@dataclass(frozen=True)
class StillReason(SeriesReason):
    """A number that stands still for longer than the fit data ever had it.

    Attributes:
        records: that hold it in a row, as far as the window reaches back.
    """

    records: int

    def __str__(self) -> str:
        observed, expected = shown_apart(self.observed, self.expected)
        return f"{self.column} stays {observed} for {self.records} records, expected {expected}"


@dataclass(frozen=True)
class Explained:
    """The reasons of one window, and the course of the column of each."""

    reasons: tuple[SeriesReason, ...] = ()
    courses: tuple[Course, ...] = ()


@dataclass(frozen=True)
class Unlike:
    """A window, and what was expected in its place.

    Attributes:
        observed, expected: (W, D) features.
        unseen: (W, C).
        score: of the window.
    """

    observed: NDArray[np.float32]
    expected: NDArray[np.float32]
    unseen: NDArray[np.bool_]
    score: float


@dataclass(frozen=True)
class Look:
    """What the network makes of N windows.

    Attributes:
        scores: (N,), but for what is unseen in them.
        expected: (N, W, D) features.
    """

    scores: Floats
    expected: NDArray[np.float32]


@dataclass(frozen=True)
class SeriesExplainer:
    """Finds the columns that raise the score of a window.

    Attributes:
        look: runs the network on windows, (N, W, D).
        rule: what an unseen value within a window adds.
        usual: (C + 1,) the squared error of each column in a usual window.
    """

    vectorizer: Vectorizer
    window: Window
    look: Callable[[NDArray[np.float32]], Look]
    rule: ScoreRule
    usual: Floats

    def explain(self, unlike: Unlike, most: int) -> Explained:
        """Return at most `most` reasons, the largest contribution first."""
        errors = squared_errors(self.vectorizer, unlike.observed, unlike.expected)
        tried = self._worth_trying(errors, unlike.unseen, most + SPARE if most else 0)
        expected = np.repeat(unlike.expected[None], len(tried), 0)
        falls = self._falls(unlike, tried, expected)
        if len(tried) and falls.max() < MUCH * unlike.score:
            blank = self._looked(self._replaced(unlike, tried, np.zeros_like(expected))).expected
            others = self._falls(unlike, tried, blank)
            better = others > falls
            falls, expected[better] = np.maximum(falls, others), blank[better]
        least = max(LEAST_NATS, LEAST_SHARE * abs(unlike.score))
        found = []
        for k in np.argsort(-falls, kind="stable")[:most].tolist():
            course = self._course(unlike, int(tried[k]), expected[k])
            reason = self._reason(course, float(falls[k]))
            usual = reason.observed == reason.expected and not isinstance(reason, StillReason)
            if falls[k] >= least and not usual:
                found.append((reason, course))
        return Explained(tuple(r for r, _ in found), tuple(c for _, c in found))

    def _course(self, unlike: Unlike, column: int, expected: NDArray[np.float32]) -> Course:
        return Course(
            Units(self.vectorizer, self.window),
            column,
            unlike.observed,
            expected,
            _with_pace(unlike.unseen)[:, column],
            squared_errors(self.vectorizer, unlike.observed, expected)[:, column],
        )

    def _reason(self, course: Course, fall: float) -> SeriesReason:
        observed, expected = course.at(course.worst)
        ago = self.window.size - 1 - course.worst
        for still in self.window.still:
            if still.column == course.index:
                past = course.observed[: course.worst + 1, [still.feature]]
                records = int(run_lengths(past)[-1, 0])
                if records >= still.records:
                    return StillReason(course.column, observed, expected, fall, ago, records)
        return SeriesReason(course.column, observed, expected, fall, ago)

    def _worth_trying(
        self, errors: Floats, unseen: NDArray[np.bool_], most: int
    ) -> NDArray[np.int64]:
        """Return the columns that err most, at their worst record, by what is usual of each; those
        with unseen values first.
        """
        pull = (errors / self.usual).max(0)
        pull[:-1][unseen.any(0)] += np.inf
        order = np.argsort(-pull, kind="stable")[:most]
        return np.asarray(order[errors[:, order].any(0) | ~np.isfinite(pull[order])])

    def _falls(
        self, unlike: Unlike, tried: NDArray[np.int64], expected: NDArray[np.float32]
    ) -> Floats:
        """Return by how many nats the score falls with what is expected, (K, W, D), of each of K
        columns.
        """
        scores = self._looked(self._replaced(unlike, tried, expected)).scores
        still = [self._unseen_beside(unlike, column) for column in tried.tolist()]
        return np.asarray(unlike.score - scores - still)

    def _unseen_beside(self, unlike: Unlike, column: int) -> float:
        """Return the nats of the unseen values in all columns but one."""
        others = np.arange(unlike.unseen.shape[1]) != column
        within = float(self.rule.unseen) * bool(unlike.unseen[:, others].any())
        return within + self.rule.newest * int(unlike.unseen[-1, others].sum())

    def _replaced(
        self, unlike: Unlike, tried: NDArray[np.int64], values: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(K,) columns -> (K, W, D): the window, each time with other values of one of them."""
        windows = np.repeat(unlike.observed[None], len(tried), 0)
        for k, column in enumerate(tried.tolist()):
            own = self._features_of(column)
            windows[k][:, own] = values[k][:, own]
        return windows

    def _looked(self, windows: NDArray[np.float32]) -> Look:
        """Look at K windows in passes of a few."""
        looks = [self.look(windows[k : k + PASS]) for k in range(0, len(windows), PASS)]
        if not looks:
            return Look(np.empty(0), windows)
        return Look(
            np.concatenate([each.scores for each in looks]),
            np.concatenate([each.expected for each in looks]),
        )

    def _features_of(self, column: int) -> NDArray[np.int64]:
        width = len(self.vectorizer.features)
        if column == len(self.vectorizer.schema.names):
            return np.array([width])
        return np.flatnonzero(self.vectorizer.column_map[:, column])


def squared_errors(
    vectorizer: Vectorizer, observed: NDArray[np.float32], expected: NDArray[np.float32]
) -> Floats:
    """(..., D) features twice -> (..., C + 1), the squared error of each column and of the pace,
    which is 0 where there is none.
    """
    residual = np.clip(observed, -LIMIT, LIMIT) - expected
    squared = residual.astype(np.float64) ** 2
    d = len(vectorizer.features)
    columns = squared[..., :d] @ vectorizer.column_map
    return np.concatenate([columns, squared[..., d:].sum(-1, keepdims=True)], axis=-1)


def usual_errors(errors: Sequence[Floats], columns: int) -> Floats:
    """Return, (C + 1,), what is usual of these windows' errors, each (W, C + 1)."""
    if not errors:
        return np.ones(columns + 1)
    usual = np.mean(errors, axis=(0, 1))
    return np.asarray(np.maximum(usual, max(LEAST_USUAL * usual.mean(), 1e-9)))


def _with_pace(unseen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(W, C) -> (W, C + 1): a pace is never unseen."""
    return np.column_stack([unseen, np.zeros(len(unseen), bool)])
