"""Learned, Package -> Tail: the columns whose rare values put the threshold out of reach.

Where a few normal records score a hundred times what others do, as free texts of a log may, the
threshold must lie among them, and anomalies that score less are not found. Columns of many values,
such as the names of cities, may do the same with records of each score: which of the values a
record has then moves its score more than anything else. More records do not help; to leave these
columns out, or a larger alpha, does.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.export.package import Package
from vaewatch.training.learned import Learned

USUAL = 0.1  # the alpha whose threshold others are compared with
FAR = 20.0  # times that threshold
EXPLAINED = 100  # records at most whose reasons are counted
LEAST = 0.05  # of what the reasons sum to: columns with less are not named
MANY, MOSTLY = 30, 0.5  # values of a column, and what such ones explain of the highest scores


def tail_of(learned: Learned, package: Package) -> dict[str, float]:
    """Return the shares of the columns that make the tail, largest first; none if it is not heavy.

    They are those of the reasons of the calibration records that score beyond FAR thresholds; if
    none do, columns of MANY values that make most of the scores beyond a usual threshold.
    """
    least = heavy_from(learned.calibration)
    if least is not None:
        return _shares(learned, package, least)
    many, usual = _of_many_values(learned.vectorizer), learned.calibration.threshold(USUAL)
    if not many or usual is None:
        return {}
    shares = _shares(learned, package, usual)
    found = {name: share for name, share in shares.items() if name in many}
    return found if sum(found.values()) >= MOSTLY else {}


def _of_many_values(vectorizer: Vectorizer) -> set[str]:
    events = Counter(feature.column for feature in vectorizer.features if feature.is_event)
    return {name for name, count in events.items() if count >= MANY}


def _shares(learned: Learned, package: Package, least: float) -> dict[str, float]:
    """Return what each column explains of the scores of at least so much, largest first."""
    scorer, rows = Scorer(package.artifact()), learned.split.calibration
    table = learned.table.take(rows)
    far = np.flatnonzero(scorer.score_table(table, explain=0).score >= least)[:EXPLAINED]
    nats: dict[str, float] = defaultdict(float)
    for reasons in scorer.score_table(table.take(far), explain=len(table.schema.columns)).reasons:
        for reason in reasons:
            nats[reason.column] += reason.contribution
    total = sum(nats.values())
    shares = {name: own / total for name, own in nats.items() if own >= LEAST * total}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def heavy_from(calibration: Calibration) -> float | None:
    """Return the score from which records make the tail; None if the threshold lies below it."""
    usual, own = calibration.threshold(USUAL), calibration.threshold(calibration.alpha)
    if usual is None or own is None or not own > FAR * usual > 0:
        return None
    return FAR * usual
