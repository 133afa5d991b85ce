"""the parts of marked alarms and of normal records -> Factors: what each part of a score weighs.

Logistic regression of "confirmed" on the logarithm of the score, so that a part may weigh more
only where confirmed alarms have more of it than normal records and false alarms do. The factors
are held near 1 by a penalty, and within a third and three times of it: people mark alarms alone,
so what alarms too rarely has no mark. They are kept as they are unless cross-validation over the
marks shows a gain beyond its standard error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.score import ScoreRule
from vaewatch.training.streams import Stream, stream

PENALTY = 1.0  # of the squared logarithm of a factor
MOST = 3.0  # as much, or as little, as a part may weigh
NORMALS = 3.0  # what all normal records weigh together, beside as many confirmed marks
FOLDS, REPEATS = 5, 3  # of the cross-validation
LEAST = 3  # confirmed marks from which others can be foretold
SLOPES = (-2.0, 4.0)  # of the score's logarithm, as logarithms
FLAT = 0.05  # penalty of the squared logarithm of the slope, which nothing else bounds
TINY = 1e-9  # nats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Factors:
    """What the KL and the neighbour part weigh, beside the reconstruction; 1 without feedback."""

    kl: float = 1.0
    neighbour: float = 1.0

    @property
    def logs(self) -> Floats:
        return np.log([self.kl, self.neighbour])

    @classmethod
    def of(cls, logs: Floats) -> Factors:
        return cls(*(float(each) for each in np.exp(logs)))

    def of_rule(self, rule: ScoreRule) -> ScoreRule:
        """Return a rule of factors of 1 with these ones."""
        return replace(
            rule,
            kl_weight=self.kl * rule.kl_weight,
            neighbour_weight=self.neighbour * rule.neighbour_weight,
        )

    def total(self, parts: Floats) -> Floats:
        """Return the scores of records with these (N, 3) parts, (N,)."""
        return np.asarray(parts @ np.array([1.0, self.kl, self.neighbour]))


@dataclass(frozen=True)
class Marked:
    """Marked records. parts: (N, 3) reconstruction, KL and neighbour, in nats at factors of 1.

    mark: (N,) which mark is theirs; all records of a mark weigh as much as one.
    """

    parts: Floats
    mark: NDArray[np.int64]

    def only(self, marks: NDArray[np.int64]) -> Marked:
        rows = np.isin(self.mark, marks)
        return Marked(self.parts[rows], self.mark[rows])

    @property
    def marks(self) -> NDArray[np.int64]:
        return np.unique(self.mark)

    @property
    def weights(self) -> Floats:
        """What each record weighs, (N,)."""
        _, place, counts = np.unique(self.mark, return_inverse=True, return_counts=True)
        return 1.0 / counts[place]


@dataclass(frozen=True)
class Examples:
    """What factors are learned from. normals: (M, 3) parts of records that nobody confirmed."""

    confirmed: Marked
    false: Marked
    normals: Floats


@dataclass(frozen=True)
class Learnt:
    """Factors, and what cross-validation says of those that were tried.

    gain: in the likelihood of a mark that was left out, in nats, with its standard error; None
        where there were too few marks to try. taken: whether the factors are new.
    """

    factors: Factors
    tried: Factors
    gain: float | None
    gain_error: float | None
    taken: bool


def learn(examples: Examples, now: Factors) -> Learnt:
    """Return the factors that marks ask for, or those of `now` if they show no gain."""
    if len(examples.confirmed.marks) < LEAST or not len(examples.normals):
        return Learnt(now, now, None, None, taken=False)
    tried = _fit(examples).factors
    gains = _gains(examples, now)
    gain = float(gains.mean())
    error = float(gains.std(ddof=1) / np.sqrt(len(gains)))
    taken = gain > error
    return Learnt(tried if taken else now, tried, gain, error, taken)


@dataclass(frozen=True)
class _Line:
    """log odds of "confirmed" = intercept + slope (log score - middle)."""

    factors: Factors
    slope: float
    intercept: float
    middle: float

    def losses(self, parts: Floats, *, confirmed: bool) -> Floats:
        """Return minus the log likelihood of each record, (N,)."""
        odds = self.intercept + self.slope * (_logs(self.factors.total(parts)) - self.middle)
        return np.logaddexp(0.0, -odds if confirmed else odds)

    def loss_by_mark(self, marked: Marked, *, confirmed: bool) -> Floats:
        """Return the mean loss of each mark's records, in order of the marks."""
        place = np.unique(marked.mark, return_inverse=True)[1]
        losses = marked.weights * self.losses(marked.parts, confirmed=confirmed)
        return np.bincount(place, losses).astype(np.float64)


def _gains(examples: Examples, now: Factors) -> Floats:
    """Return the gain of each mark as others foretell it, those of confirmed ones first: (marks,),
    means over REPEATS ways to part them.
    """
    rng = stream(0, Stream.FEEDBACK)
    confirmed, false = examples.confirmed.marks, examples.false.marks
    gains = np.zeros(len(confirmed) + len(false))
    count = min(FOLDS, len(confirmed))
    for _ in range(REPEATS):
        true_of, false_of, normal_of = (
            rng.permutation(np.arange(n) % count)
            for n in (len(confirmed), len(false), len(examples.normals))
        )
        for fold in range(count):
            past = Examples(
                examples.confirmed.only(confirmed[true_of != fold]),
                examples.false.only(false[false_of != fold]),
                examples.normals[normal_of != fold],
            )
            left = Examples(
                examples.confirmed.only(confirmed[true_of == fold]),
                examples.false.only(false[false_of == fold]),
                examples.normals[normal_of == fold],
            )
            own = np.concatenate([true_of == fold, false_of == fold])
            gains[own] += _gain(past, left, now) / REPEATS
    return gains


def _gain(past: Examples, left: Examples, now: Factors) -> Floats:
    """Return the gain of each mark that was left out, with its share of the normal records."""
    losses = []
    for factors in (now, _fit(past).factors):
        line = _fit(past, factors)  # so that neither pays a penalty
        normal = NORMALS * line.losses(left.normals, confirmed=False).mean()
        true = line.loss_by_mark(left.confirmed, confirmed=True) + normal
        losses.append(np.concatenate([true, line.loss_by_mark(left.false, confirmed=False)]))
    return np.asarray(losses[0] - losses[1])


def _fit(examples: Examples, factors: Factors | None = None) -> _Line:
    """Fit a line; with these factors, or with those that suit it."""
    from scipy.optimize import minimize  # half a second of imports that no fit without marks needs

    confirmed, false, normals = examples.confirmed, examples.false, examples.normals
    parts = np.concatenate([confirmed.parts, false.parts, normals])
    sign = np.where(np.arange(len(parts)) < len(confirmed.parts), 1.0, -1.0)
    share = NORMALS * len(confirmed.marks) / len(normals)
    weights = np.concatenate([confirmed.weights, false.weights, np.full(len(normals), share)])
    middle = float(np.average(_logs(parts.sum(1)), weights=weights))

    def loss(at: Floats) -> tuple[float, Floats]:
        logs, slope, intercept = at[:2], np.exp(at[2]), at[3]
        weighted = parts * np.exp([0.0, *logs])
        score = np.maximum(weighted.sum(1), TINY)
        height = np.log(score) - middle
        odds = sign * (intercept + slope * height)
        value = weights @ np.logaddexp(0.0, -odds) + PENALTY * logs @ logs + FLAT * at[2] ** 2
        pull = -weights * sign / (1.0 + np.exp(np.clip(odds, -500, 500)))  # d value / d odds
        by_logs = slope * (pull / score) @ weighted[:, 1:] + 2 * PENALTY * logs
        by_slope = slope * (pull @ height) + 2 * FLAT * at[2]
        return float(value), np.array([*by_logs, by_slope, pull.sum()])

    most = float(np.log(MOST))
    logs = np.zeros(2) if factors is None else factors.logs
    free = [(-most, most)] * 2 if factors is None else [(each, each) for each in logs.tolist()]
    found = minimize(
        loss,
        np.array([*logs, np.log(2.0), 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[*free, SLOPES, (None, None)],
    ).x
    made = Factors.of(found[:2]) if factors is None else factors
    return _Line(made, float(np.exp(found[2])), float(found[3]), middle)


def _logs(scores: Floats) -> Floats:
    return np.log(np.maximum(scores, TINY))
