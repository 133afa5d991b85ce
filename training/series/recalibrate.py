"""artifact of windows, new normal records -> what its new calibration is.

The windows that calibrate share no record with those of the fit, so that theirs is a split
calibration. Neighbours are alike, so that its interval is that of as many records as there are
independent blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.artifact import Golden
from vaewatch.scoring.budget.calibration import SPLIT, allowed_rank, block_law, check_alpha
from vaewatch.scoring.budget.chance import Chance
from vaewatch.scoring.disk.recalibrated import Renewal
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.series.entity import KnownEntities, numbered
from vaewatch.scoring.series.history import Standing
from vaewatch.scoring.series.settling import of_new_entities
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.calibrate import calibrate, fit_drift, with_changes
from vaewatch.training.calibration.detection import Comparison, Detection, Found, Labelled
from vaewatch.training.calibration.planted import Fault, plant
from vaewatch.training.calibration.renewed import Renewed
from vaewatch.training.calibration.side import Side
from vaewatch.training.records.seen import load_seen
from vaewatch.training.series.judged import (
    JudgedWindows,
    later_half,
    outlook_of_windows,
    warn_of_few,
)
from vaewatch.training.series.seen import find_again
from vaewatch.training.streams import Stream, stream

PLANTED = 400  # windows that each kind of fault is planted in
FAULTY = 4  # the last quarter of a window is at fault
LEAST_NORMAL = 50
LEAST_ENTITIES = 2  # new ones, for a calibration of their own


@dataclass(frozen=True)
class NewWindows:
    """J windows. each: (J, W) their records. stretches: (J,) which follow one another without a
    break.
    """

    each: NDArray[np.int64]
    stretches: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """(J,) the record that each judges: its last."""
        return self.each[:, -1]

    def only(self, some: NDArray[np.bool_]) -> NewWindows:
        return NewWindows(self.each[some], self.stretches[some])


@dataclass(frozen=True)
class Ordered:
    """N records in order of time, and how the old artifact judges them.

    Attributes:
        scores: (N,); NaN of one without a full window.
        again: (N,) which are among those of the fit.
    """

    scorer: Scorer
    table: Table
    scores: NDArray[np.float64]
    in_history: NDArray[np.bool_]
    again: NDArray[np.bool_]

    @classmethod
    def of(cls, scorer: Scorer, table: Table, path: Path) -> Ordered:
        assert table.times is not None  # the schema of a window has a time
        table = table.take(np.argsort(table.times, kind="stable"))
        verdicts = scorer.score_table(table, explain=0)
        kept = np.array(
            [w not in (Standing.LATE, Standing.REPEATED) for w in verdicts.history or ()]
        )
        seen = load_seen(path)
        again = np.zeros(len(table), bool) if seen is None else find_again(seen, table)
        return cls(scorer, table, verdicts.score, kept, again)

    def windows(self) -> NewWindows:
        """Return the windows that may calibrate, those of an entity after another's."""
        window = self.scorer.artifact.window
        assert window is not None
        size, names = window.size, np.zeros(len(self.table), np.int64)
        if self.table.entities is not None:
            names = numbered(self.table.entities)
        rows = np.argsort(names, kind="stable")
        rows = rows[self.in_history[rows]]  # of an entity in a row, in order of time
        places = np.flatnonzero(~np.isnan(self.scores[rows]))
        each = rows[places[:, None] + np.arange(1 - size, 1)]
        fresh = ~self.again[each].any(1)
        places, each = places[fresh], each[fresh]
        breaks = np.diff(places) != 1
        breaks |= np.diff(names[each[:, -1]]) != 0 if len(each) else False
        return NewWindows(each, np.concatenate([[0], np.cumsum(breaks)])[: len(each)])

    def entities(self, windows: NewWindows) -> list[str] | None:
        """Return the entity of each of J windows; None where there is one series."""
        names = self.table.entities
        return None if names is None else [names[i] for i in windows.rows.tolist()]


@dataclass(frozen=True)
class WindowComparison(Comparison):
    """The two calibrations of a scorer of windows. blocks: what the new one is worth."""

    blocks: int

    def score(self, table: Table) -> NDArray[np.float64]:
        """Score records in order of time; those that are not judged are left out."""
        assert table.times is not None
        scores = self.scorer.score_table(
            table.take(np.argsort(table.times, kind="stable")), explain=0
        ).score
        return scores[~np.isnan(scores)]

    def labelled(self, table: Table, anomaly: NDArray[np.bool_]) -> Labelled:
        assert table.times is not None
        order = np.argsort(table.times, kind="stable")
        scores = self.scorer.score_table(table.take(order), explain=0).score
        judged, own = ~np.isnan(scores), anomaly[order]
        return Labelled(*(self.found(scores[judged & kind], None) for kind in (own, ~own)))

    def compare(
        self, table: Table, windows: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> Detection:
        """Return the whole comparison, given the new windows, (J, W), and their scores."""
        series, old, alpha = self.scorer.artifact.manifest.series, self.old, self.alpha
        law = block_law(old.pooled, alpha, series.blocks if series else old.pooled.n)
        share = float(old.alarms(scores, None, alpha).mean())
        threshold = self.new.threshold(alpha)
        return Detection(
            alpha=alpha,
            old_threshold=old.threshold(alpha),
            new_threshold=threshold,
            old_alpha=old.p_value(threshold, alpha),
            alarms=share,
            chance=Chance(self.blocks, law.high, law.n).at_least(round(share * self.blocks)),
            column_chance=1.0,  # neighbours are alike, so that a test of single records would lie
            planted=self._planted(table, windows, scores),
            labelled=None,
        )

    def _planted(
        self, table: Table, windows: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> dict[Fault, Found]:
        """Plant each kind of fault in the last records of new windows that did not alarm."""
        artifact = self.scorer.artifact
        rng = stream(artifact.manifest.training.seed, Stream.PLANTED)
        normal = np.flatnonzero(~self.old.alarms(scores, None, self.alpha))
        if len(normal) < LEAST_NORMAL:
            normal = np.arange(len(scores))
        chosen = windows[rng.permutation(normal)[:PLANTED]]
        k, size = chosen.shape
        names = np.repeat(np.arange(k), size).astype(str).tolist()  # each window by itself
        whole = replace(table.take(chosen.ravel()), entities=names)
        last = (
            np.arange(k)[:, None] * size + np.arange(size - max(1, size // FAULTY), size)
        ).ravel()
        found: dict[Fault, Found] = {}
        for fault in Fault:
            faulty = plant(fault, whole.take(last), artifact.vectorizer, rng)
            if faulty is None:
                continue
            numbers, codes = whole.numbers.copy(), whole.codes.copy()
            numbers[last], codes[last] = faulty.numbers, faulty.codes
            own = replace(whole, numbers=numbers, codes=codes)
            shares = self.found(_last_of(self.scorer, own, size), None)
            if shares is not None:
                found[fault] = shares
        return found


def _last_of(scorer: Scorer, table: Table, size: int) -> NDArray[np.float64]:
    """Return the scores of the last records of windows that stand one after another."""
    scores = scorer.score_table(table, explain=0).score[size - 1 :: size]
    return scores[~np.isnan(scores)]


def renew_series(
    scorer: Scorer, table: Table, path: Path, alpha: float | None, fingerprint: str
) -> Renewed:
    """Calibrate an artifact of windows on a table of new normal records.

    alpha: None for that of the artifact, or for one that gives as many false incidents as it was
    asked for.

    Raises:
        CalibrationError: the windows are too few for alpha.
    """
    artifact = scorer.artifact
    ordered = Ordered.of(scorer, table, path)
    every = ordered.windows()
    usual, new = _parted(ordered, every)
    wanted = artifact.manifest.training.incidents_per_day if alpha is None else None
    rate = artifact.calibration.alpha if alpha is None else alpha
    _check_enough(ordered, usual, rate)
    judged = _judged(ordered, usual, rate)
    if wanted is not None:
        judged = judged.at(judged.alpha_for(wanted))
    warn_of_few(judged)
    of_new = _judged_new(ordered, new, judged.calibration.alpha)
    comparison = WindowComparison(scorer, Side(judged.calibration), judged.blocks)
    return Renewed(
        judged.scores,
        comparison,
        comparison.compare(ordered.table, usual.each, judged.scores),
        _renewal(scorer, judged, of_new, ordered.table, fingerprint),
        int(ordered.again.sum()),
    )


def _parted(ordered: Ordered, every: NewWindows) -> tuple[NewWindows, NewWindows | None]:
    """Part windows of entities that the artifact does not know from all others, where it has a
    calibration of their own.
    """
    new = of_new_entities(ordered.scorer.artifact, ordered.entities(every))
    return (every, None) if new is None else (every.only(~new), every.only(new))


def _judged(
    ordered: Ordered, windows: NewWindows, alpha: float, *, by_entity: bool = False
) -> JudgedWindows:
    window, times, rows = ordered.scorer.artifact.window, ordered.table.times, windows.rows
    assert window is not None and times is not None
    scores = ordered.scores[rows]
    return JudgedWindows(
        window=window,
        calibration=calibrate(scores, alpha, SPLIT),
        scores=scores,
        moments=times[rows],
        entities=ordered.entities(windows),
        stretches=windows.stretches,
        by_entity=by_entity,
    )


def _judged_new(
    ordered: Ordered, windows: NewWindows | None, alpha: float
) -> JudgedWindows | None:
    """Return the windows that calibrate for new entities; None where the old ones go on to do so.
    Records of a single entity say nothing of how entities differ.
    """
    if windows is None or len(set(ordered.entities(windows) or ())) < LEAST_ENTITIES:
        return None
    if allowed_rank(alpha, len(windows.rows)) < 1:
        return None
    judged = _judged(ordered, windows, alpha, by_entity=True)
    warn_of_few(judged)
    return judged


def _check_enough(ordered: Ordered, usual: NewWindows, alpha: float) -> None:
    artifact = ordered.scorer.artifact
    assert artifact.window is not None
    try:
        check_alpha(alpha, len(usual.rows))
    except CalibrationError as error:
        again = int(ordered.again.sum())
        known = f", and {again:,} are of the entities and times of the fit" if again else ""
        whose = " of entities that the fit saw" if artifact.of_new else ""
        raise CalibrationError(
            f"of {len(ordered.table):,} records {len(usual.rows):,} have a full window of "
            f"{artifact.window.size:,} new ones{whose}{known}: {error}"
        ) from None


def _renewal(
    scorer: Scorer,
    judged: JudgedWindows,
    of_new: JudgedWindows | None,
    table: Table,
    fingerprint: str,
) -> Renewal:
    """Return what changes; the golden records stay, with their new p-values."""
    artifact, calibration = scorer.artifact, judged.calibration
    golden, series, known = artifact.golden, artifact.manifest.series, artifact.entities
    assert series is not None  # the manifest of a window has one
    series = msgspec.structs.replace(
        series,
        blocks=judged.blocks,
        incidents_per_day=judged.incidents(),
        score_blocks=judged.score_blocks,
    )
    if of_new is not None:
        series = msgspec.structs.replace(series, blocks_of_new=of_new.blocks)
    elif artifact.of_new is None and known is not None:
        known |= KnownEntities.of(judged.entities or ())  # these calibrate now, too
    return Renewal(
        calibration,
        fit_drift(table),
        Golden(golden.records, golden.scores, calibration.p_values(golden.scores)),
        fingerprint,
        outlook=with_changes(outlook_of_windows(judged, later_half(judged)), table),
        series=series,
        peaks=judged.peaks(),
        entities=known,
        of_new=of_new.calibration if of_new else artifact.of_new,
    )
