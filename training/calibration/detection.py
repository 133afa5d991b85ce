"""an old and a new calibration, records -> Detection: what each of them finds.

A recalibration keeps the share of normal records that alarm. If the network no longer knows what
is normal, it does so by a threshold so high that anomalies stay below it, too. Only records that
must alarm can show that: planted anomalies, which need no labels, and labelled ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.score import score_features
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.planted import Fault, plant
from vaewatch.training.calibration.side import Codes, Side
from vaewatch.training.streams import Stream, stream

PLANTED = 2000  # records that each kind of fault is planted in
PLANTED_IN_SEGMENT = 400  # the same, for each segment
LEAST_NORMAL = 100  # of these that must not alarm without the fault, or all are counted
GROUPS = (  # faults that the network judges, and those that it has no feature for
    (Fault.SHUFFLED, Fault.FAR),
    (Fault.MISSING, Fault.UNSEEN),
)
WORTH = 0.2  # a share found before; of a smaller one there is little to lose
LOWERED, LOST = 1 / 2, 1 / 3  # of the share before
CHANCE = 1e-4  # of so many alarms, or of columns so different: below it, normals have changed
LIKELY = 0.05  # of so many alarms, where the columns differ as well
LEAST_COUNT = 5  # new normals expected in each bin that is compared; rarer ones are pooled

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """The shares of some records that alarm by the old and by the new calibration."""

    records: int
    before: float
    after: float

    def fell_to(self, share: float) -> bool:
        """Return whether at most this share of what was found before still is."""
        return self.before >= WORTH and self.after <= share * self.before


def mean_of(kinds: Sequence[Found]) -> Found:
    """Return the mean shares of some kinds of records, each of the same weight; 0 of none."""
    if not kinds:
        return Found(0, 0.0, 0.0)
    return Found(
        sum(kind.records for kind in kinds),
        fmean(kind.before for kind in kinds),
        fmean(kind.after for kind in kinds),
    )


@dataclass(frozen=True)
class Labelled:
    """What is found of labelled records; None where there are none of a kind."""

    anomalies: Found | None
    normals: Found | None


@dataclass(frozen=True)
class Detection:
    """What two calibrations of one network find at one alpha.

    Attributes:
        alpha: that of the new calibration, or the least that both can certify.
        old_threshold, new_threshold: nats.
        old_alpha: the alpha at which the old calibration would have the new threshold.
        alarms: the share of the new normals that alarms by the old calibration.
        chance: the probability of at least so many alarms, if the new normals were exchangeable
            with the old calibration records.
        column_chance: the probability that one of their columns differs so much from the old
            reference.
        planted: fault -> what is found of anomalies planted in new normals that did not alarm.
        labelled: of labelled records, if any were given.
        segments: the same of each segment with a calibration of its own, by its name.
    """

    alpha: float
    old_threshold: float
    new_threshold: float
    old_alpha: float
    alarms: float
    chance: float
    column_chance: float
    planted: Mapping[Fault, Found]
    labelled: Labelled | None
    segments: Mapping[str, Detection] = field(default_factory=dict)

    @property
    def anomalies(self) -> dict[str, Found]:
        """What is found of each kind of anomaly, by its name."""
        return {f"planted: {fault}": found for fault, found in self.planted.items()} | self._known

    @property
    def changed(self) -> bool:
        """Whether more of the new normals alarm by the old calibration than chance explains.

        A small calibration cannot say so on its own; then a column may bear witness.
        """
        return self.chance < CHANCE or (self.chance < LIKELY and self.column_chance < CHANCE)

    @property
    def lowered(self) -> dict[str, Found]:
        """The kinds of which at most half as many are found as before."""
        return {name: found for name, found in self.anomalies.items() if found.fell_to(LOWERED)}

    @property
    def lost(self) -> dict[str, Found]:
        """The groups of which at most a third is found, because the normals have changed.

        Where chance explains the alarms, nothing is lost: a few records set the threshold too
        high, and more of them will bring it down.
        """
        groups = {
            f"planted anomalies ({', '.join(faults)})": mean_of(
                [self.planted[fault] for fault in faults if fault in self.planted]
            )
            for faults in GROUPS
        } | self._known
        lost = {name: found for name, found in groups.items() if found.fell_to(LOST)}
        return lost if self.changed else {}

    def worst(self) -> tuple[Detection, str, Found] | None:
        """Return what is lost most, of all records or of one segment: where, what and how much."""
        every = [
            (self, ""),
            *((own, f" in segment '{name}'") for name, own in self.segments.items()),
        ]
        lost = [
            (own, f"{kind}{where}", found)
            for own, where in every
            for kind, found in own.lost.items()
        ]
        return min(lost, key=lambda one: one[2].after / one[2].before) if lost else None

    @property
    def _known(self) -> dict[str, Found]:
        found = self.labelled.anomalies if self.labelled else None
        return {"labelled anomalies": found} if found else {}


def column_chance(reference: DriftReference, table: Table) -> float:
    """Return the probability that the bins of some column differ as much as these do, by Pearson's
    test of homogeneity and Bonferroni's bound.
    """
    least = min(map(_differ, reference.counts, reference.count(table)), default=1.0)
    return min(1.0, least * len(reference.counts))


def _differ(old: NDArray[np.int64], new: NDArray[np.int64]) -> float:
    """Return the p-value of two rows of counts. `scipy.stats` has the same test, after a second of
    imports.
    """
    both = old + new
    common = both * new.sum() >= LEAST_COUNT * both.sum()
    counts = np.stack([old, new])
    pooled = np.c_[counts[:, common], counts[:, ~common].sum(1)]
    pooled = pooled[:, pooled.sum(0) > 0]
    if pooled.shape[1] < 2:
        return 1.0
    expected = pooled.sum(1, keepdims=True) * pooled.sum(0) / pooled.sum()
    statistic = ((pooled - expected) ** 2 / expected).sum()
    return float(chdtrc(pooled.shape[1] - 1, statistic))


@dataclass(frozen=True)
class Comparison:
    """The old and the new calibrations of one scorer, and how records alarm by each."""

    scorer: Scorer
    new: Side

    @classmethod
    def of(cls, scorer: Scorer, new: Calibration, segments: Segments | None = None) -> Comparison:
        return cls(scorer, Side(new, segments))

    @property
    def old(self) -> Side:
        artifact = self.scorer.artifact
        return Side(artifact.calibration, artifact.segments)

    @property
    def alpha(self) -> float:
        return max(self.new.pooled.alpha, 1 / (self.old.pooled.n + 1))

    def score(self, table: Table) -> Scores:
        artifact = self.scorer.artifact
        return score_features(
            self.scorer.network, artifact.rule, artifact.vectorizer.transform(table)
        )

    def codes(self, table: Table) -> Codes | None:
        """Return the (N,) codes of the segments of records; None without segments."""
        segments = self.scorer.artifact.segments
        return None if segments is None else segments.codes(table)

    def found(self, scores: Scores, codes: Codes | None) -> Found | None:
        """Return the shares of (N,) scores that alarm, or None of no scores."""
        if not len(scores):
            return None
        before, after = (
            float(side.alarms(scores, codes, self.alpha).mean()) for side in (self.old, self.new)
        )
        return Found(len(scores), before, after)

    def planted(self, table: Table, scores: Scores, size: int = PLANTED) -> dict[Fault, Found]:
        """Plant each kind of fault in new normals, given their (N,) scores. Each is judged as a
        record of the segment that it is planted in.
        """
        artifact = self.scorer.artifact
        rng = stream(artifact.manifest.training.seed, Stream.PLANTED)
        rows = rng.integers(len(table), size=size)
        chosen = table.take(rows)
        codes = self.codes(chosen)
        normal = ~self.old.alarms(scores[rows], codes, self.alpha)
        if normal.sum() < LEAST_NORMAL:
            normal[:] = True
        found: dict[Fault, Found] = {}
        for fault in Fault:
            faulty = plant(fault, chosen, artifact.vectorizer, rng)
            if faulty is not None:
                own = None if codes is None else codes[normal]
                shares = self.found(self.score(faulty)[normal], own)
                if shares is not None:
                    found[fault] = shares
        return found

    def labelled(self, table: Table, anomaly: NDArray[np.bool_]) -> Labelled:
        scores = self.score(table)
        kinds = []
        for rows in (anomaly, ~anomaly):
            codes = self.codes(table)
            kinds.append(self.found(scores[rows], None if codes is None else codes[rows]))
        return Labelled(*kinds)

    def detection(
        self, table: Table, scores: Scores, labelled: Labelled | None = None
    ) -> Detection:
        """Return the whole comparison, given the new normals and their (N,) scores."""
        chance = column_chance(self.scorer.artifact.drift, table)
        whole = replace(self._compare(table, scores), column_chance=chance, labelled=labelled)
        return replace(whole, segments=self._of_segments(table, scores))

    def _of_segments(self, table: Table, scores: Scores) -> dict[str, Detection]:
        """Compare each segment that has a calibration of its own before or after."""
        old, new, codes = self.old.segments, self.new.segments, self.codes(table)
        if old is None or codes is None:
            return {}
        found = {}
        for code in sorted({*old.own, *(new.own if new else ())}):
            rows = np.flatnonzero(codes == code)
            if len(rows):
                own = self._compare(table.take(rows), scores[rows], code)
                found[old.labels[code] or ""] = own
        return found

    def _compare(self, table: Table, scores: Scores, code: int | None = None) -> Detection:
        """Compare records, or those of one segment; its columns have no reference."""
        codes, old, alpha = self.codes(table), self.old, self.alpha
        threshold, alarms = self.new.threshold(alpha, code), old.alarms(scores, codes, alpha)
        return Detection(
            alpha=alpha,
            old_threshold=old.threshold(alpha, code),
            new_threshold=threshold,
            old_alpha=old.p_value(threshold, alpha, code),
            alarms=float(alarms.mean()),
            chance=old.chance(alarms, codes, alpha),
            column_chance=1.0,
            planted=self.planted(table, scores, PLANTED if code is None else PLANTED_IN_SEGMENT),
            labelled=None,
        )
