"""records -> Learned: the recipe, top to bottom and in memory."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import SPLIT, Calibration, check_alpha
from vaewatch.scoring.budget.segments import Segments
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.network import Network
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import ScoreRule, score_features
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.calibration.calibrate import fit_drift, with_changes
from vaewatch.training.calibration.judged import Judged
from vaewatch.training.calibration.neighbours import keep_records
from vaewatch.training.calibration.out_of_bag import (
    OutOfBag,
    errors_of,
    errors_of_judges,
    out_of_bag,
    parts_of_scores,
)
from vaewatch.training.calibration.played import Played, Shaping
from vaewatch.training.calibration.rehearsal import rehearse_recent
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.calibration.worth import calibrate_entities
from vaewatch.training.config import RECENT, TrainConfig
from vaewatch.training.export.graph import check_against_torch, export_graph
from vaewatch.training.export.score_model import ScoreModel
from vaewatch.training.feedback.given import Feedback
from vaewatch.training.feedback.learn import FittedTo, PartsOf, learn_from
from vaewatch.training.feedback.weights import Factors
from vaewatch.training.learned import Continued, Evidence, Learned
from vaewatch.training.odd.columns import ColumnCosts, ColumnView, may_view
from vaewatch.training.parent import Parent, anew
from vaewatch.training.progress import Progress, silent
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.remarks.columns import remarks
from vaewatch.training.records.remarks.order import of_order
from vaewatch.training.records.remarks.remark import texts_of
from vaewatch.training.records.schema import (
    infer_schema,
    with_categories_of,
)
from vaewatch.training.split.divide import Whence, divide, draw_folds
from vaewatch.training.split.split import (
    LAST_SHARE,
    LATER_SHARE,
    Split,
)
from vaewatch.training.split.trim import trim
from vaewatch.training.streams import Stream, stream
from vaewatch.training.unseen.known import unseen_by_others
from vaewatch.training.vae.checkpoint import Checkpoint
from vaewatch.training.vae.fit import Fitted, fit_vae
from vaewatch.training.vae.laggards import without_laggards

log = logging.getLogger("vaewatch.training")

Score = Callable[[Table], NDArray[np.float64]]
VIEWED = 10_000  # fit records that show what single columns usually cost
PROBES = 64  # fit records on which the exported graph must agree with torch
JUDGED = (
    40_000  # fit records whose out-of-bag residuals shape the score, unless they calibrate, too
)


def fit(
    frame: pl.DataFrame,
    config: TrainConfig,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
    parent: Parent | None = None,
    inferred: Schema | None = None,
    feedback: Feedback | None = None,
) -> Learned:
    """Learn from a frame of normal records; a parent is an artifact whose fit is continued.

    inferred: the schema of the frame by these settings, if it is known already.
    feedback: what people said of alarms; its confirmed records are not in the frame.

    Raises:
        SchemaError: the columns cannot be learned.
        CalibrationError: there are too few records for `config.alpha`.
    """
    continued = parent.continued(frame, config) if parent else None
    if inferred is None and config.time is not None:
        inferred = infer_schema(frame, config)
    whence = Whence.of(frame, inferred, config)
    split = divide(frame, whence, config, continued)
    check_alpha(config.alpha, split.calibrates)
    schema = with_categories_of(inferred or infer_schema(frame, config), frame[split.fit])
    table = checked_table(schema, frame)
    for text in texts_of((*remarks(schema, frame, config.kinds), *of_order(table, config))):
        log.warning("%s", text)
    if config.contamination_robust:
        split = trim(table, split, anew(config) if parent else config, progress)
    fit_table = table.take(split.fit)
    vectorizer = fit_vectorizer(fit_table)
    x = vectorizer.transform(fit_table).values
    config = config.suiting(x.shape[1])
    start = None if parent is None else parent.weights(vectorizer, config.seed)
    drawn = draw_folds(whence, split, config, continued)
    fitted = fit_vae(x, config, progress, checkpoint, start, drawn)
    fitted = without_laggards(fitted, x)
    progress("calibrating", 0, 0)
    rules = Rules.of(vectorizer.features, len(x))
    found = _fit_score(fitted, x, fit_table, rules, config, split.rule)
    found = _viewed(found, vectorizer.column_of, split, rules)
    graph = export_graph(found.model)
    network = Network(graph, threads=config.threads)
    difference = check_against_torch(found.model, network, x[:PROBES])

    fitted_to = FittedTo(table, split, found.evidence)
    parts_of = PartsOf(network, vectorizer, found.rule)
    learnt = learn_from(feedback, frame, fitted_to, parts_of, config.alpha) if feedback else None
    found = found.weighing(learnt.factors) if learnt else found

    def score(records: Table) -> NDArray[np.float64]:
        return score_features(network, found.rule, vectorizer.transform(records))

    judged = _judge(table, split, found, rules, score)
    calibration = _calibration(judged, split, config.alpha, whence.entities)
    played = Played(fitted, found.shaping(rules), vectorizer, table, split, continued)
    return Learned(
        config=config,
        table=table,
        split=split,
        vectorizer=vectorizer,
        fitted=fitted,
        rule=found.rule,
        graph=graph,
        export_difference=difference,
        precision=found.model.precision,
        calibration=calibration,
        drift=fit_drift(table),
        segments=_segments(judged, split, calibration, continued),
        evidence=found.evidence,
        continued=continued,
        outlook=None if whence.times is None else _outlook(played, judged, config),
        feedback=None if feedback is None else feedback.summary(learnt),
    )


def _judge(table: Table, split: Split, found: _ScoreFit, rules: Rules, score: Score) -> Judged:
    """Score the records that calibrate; of fit records, those scores that are out of bag."""
    if split.rule == SPLIT:
        return Judged(table, split.unfitted, score(table.take(split.unfitted)))
    evidence, unseen = found.evidence, found.rule.unseen
    rows = np.concatenate([split.fit[evidence.rows], split.trimmed])
    numbers = unseen_by_others(table.take(split.fit))[evidence.rows]
    brought = rules.unseen(evidence.x[evidence.rows], numbers)
    own = evidence.scores + unseen * brought
    scores = np.concatenate([own, score(table.take(split.trimmed))])
    return Judged(table, rows, scores)


def _viewed(found: _ScoreFit, columns: NDArray[np.int64], split: Split, rules: Rules) -> _ScoreFit:
    """Return the fit with a view of the columns that its features, (D,), are of, where it may have
    one. Without the KL it is the reconstruction part alone that was asked for; and cross-fitted
    records are judged by one member each, whose costs of single columns vary more.
    """
    if split.rule != SPLIT or not found.rule.kl_weight or not may_view(len(split.fit), columns):
        return found
    return found.viewing(columns, rules)


def _segments(
    judged: Judged, split: Split, pooled: Calibration, continued: Continued | None
) -> Segments | None:
    segments, alpha = judged.segments(split, pooled), pooled.alpha
    if segments is not None and not segments.own:
        new = " new" if continued else ""
        share = LATER_SHARE if continued else LAST_SHARE if split.rule == SPLIT else 1
        log.warning(
            "no value of segment column '%s' has enough%s records for a calibration of its own, "
            "about %s at alpha %g: the pooled one judges all. Name a column of fewer values, or "
            "ask for a larger alpha.",
            *(segments.schema.segment, new, f"{math.ceil(1 / alpha / share):,}", alpha),
        )
    return segments


def _calibration(
    judged: Judged, split: Split, alpha: float, entities: NDArray[np.int64] | None
) -> Calibration:
    """Return the pooled calibration, worth what whole entities are where these, of all N records,
    were held out.
    """
    if entities is None:
        return judged.calibration(alpha, split)
    names = entities[judged.rows].astype(str).tolist()
    return calibrate_entities(judged.scores, names, alpha)


@dataclass(frozen=True)
class _ScoreFit:
    """The model that gives the parts of a score, and the rule that adds them up."""

    model: ScoreModel
    rule: ScoreRule
    evidence: Evidence
    oob: OutOfBag
    errors: NDArray[np.float64]
    factors: Factors = Factors()

    def viewing(self, columns: NDArray[np.int64], rules: Rules) -> _ScoreFit:
        """Return the fit with a view of the columns that its features, (D,), are of."""
        precision, evidence = self.model.precision, self.evidence
        whitened = precision.whiten(evidence.residuals.astype(np.float64))
        costs = ColumnCosts.of(precision, columns)
        some = slice(None, None, math.ceil(len(whitened) / VIEWED))
        served = self.model.whitened(evidence.x[evidence.rows[some]])
        view = ColumnView.of(costs, whitened[some], evidence.scores[some], rules.nats, served)
        least, parts = view.least(whitened[None]), evidence.parts.copy()
        parts[:, 0] = np.maximum(parts[:, 0], least - parts[:, 1:].sum(1))
        return replace(
            self,
            model=replace(self.model, columns=view, neighbour_weight=self.rule.neighbour_weight),
            evidence=replace(evidence, scores=np.maximum(evidence.scores, least), parts=parts),
        )

    def shaping(self, rules: Rules) -> Shaping:
        """Return the records that shape the score."""
        seen, view = self.evidence, self.model.columns
        columns = None if view is None else view.costs.column
        shaped = self.oob, self.errors, seen.x[seen.rows], seen.rows, rules, self.rule.unseen
        return Shaping(*shaped, self.factors, columns)

    def weighing(self, factors: Factors) -> _ScoreFit:
        """Return the fit with parts that weigh so many times as much."""
        if factors == Factors():
            return self
        evidence = replace(self.evidence, scores=factors.total(self.evidence.parts))
        return replace(self, rule=factors.of_rule(self.rule), evidence=evidence, factors=factors)


def _fit_score(
    fitted: Fitted,
    x: NDArray[np.float32],
    table: Table,
    rules: Rules,
    config: TrainConfig,
    calibrated: str,
) -> _ScoreFit:
    """Fit the score to some of the N fit records, (N, D) features and a table, or all of them if
    they calibrate, each judged by the member that did not see it.
    """
    kl, judged = config.model == "vae", JUDGED if calibrated == SPLIT else len(x)
    rows = np.sort(stream(config.seed, Stream.CALIBRATION).permutation(len(x))[:judged])
    oob = out_of_bag(fitted, x, rows, kl=kl)
    bank, own = keep_records(x, config.neighbours, config.seed)
    distance = bank.distance(x[rows], own[rows]) if len(bank) > 1 else None
    errors = errors_of_judges(fitted, x, rules)
    weight, parts = parts_of_scores(oob, distance, rules, config.score, errors)

    def brought() -> NDArray[np.int64]:
        return rules.unseen(x[rows], unseen_by_others(table)[rows])

    scores = parts.sum(1)
    rule = ScoreRule(
        rules.of_unseen(scores, brought), float(config.score != "reconstruction"), weight
    )
    served = fitted.vae.only(fitted.folds.serving)
    precision = oob.precision(errors_of(served, x, np.arange(len(x)), rules))
    model = ScoreModel(served, precision, rules.caps(precision), bank, kl)
    evidence = Evidence(x, rows, oob.residuals, scores, parts)
    return _ScoreFit(model, rule, evidence, oob, errors)


def _outlook(played: Played, judged: Judged, config: TrainConfig) -> Outlook | None:
    """Say whether the budget holds over time."""
    table, found = played.table, None
    if config.calibrate != RECENT:
        found = played.outlook(config)
    if config.calibrate == RECENT or (found is None and played.continued is not None):
        pooled = judged.pooled(played.split)
        found = rehearse_recent(pooled.scores, table.take(pooled.rows), config.alpha)
    return with_changes(found, table)
