"""records -> LearnedSeries: the recipe of windows, top to bottom and in memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from vaewatch.scoring.budget.calibration import CROSS_FITTED, Calibration, check_alpha
from vaewatch.scoring.drift import DriftReference
from vaewatch.scoring.errors import CalibrationError
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.score import ScoreRule
from vaewatch.scoring.series.entity import KnownEntities
from vaewatch.scoring.series.history import Run
from vaewatch.scoring.series.network import WindowNetwork
from vaewatch.scoring.series.promise import check_countable
from vaewatch.scoring.series.window import SeriesSummary
from vaewatch.scoring.table import Table
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.calibration.calibrate import calibrate, fit_drift, with_changes
from vaewatch.training.config import ENTITIES, TrainConfig
from vaewatch.training.progress import Progress, silent
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.records.remarks.columns import remarks
from vaewatch.training.records.remarks.remark import texts_of
from vaewatch.training.records.remarks.time import of_time
from vaewatch.training.records.schema import infer_schema, with_categories_of
from vaewatch.training.series.checks import check_series
from vaewatch.training.series.export.windows import check_windows_against_torch, export_windows
from vaewatch.training.series.fit import OutOfFold, WindowFit, fit_windows, to_judge
from vaewatch.training.series.judged import (
    JudgedWindows,
    outlook_of_windows,
    warn_of_few,
)
from vaewatch.training.series.model import UNSEEN, WindowModel
from vaewatch.training.series.records import Series, series_of
from vaewatch.training.vae.checkpoint import Checkpoint

log = logging.getLogger("vaewatch.training")

SERVED = 2  # members that the graph averages
REPEATED = 0.05  # of the records: of more, something is amiss
PROBES = 64  # windows on which the exported graph must agree with torch


@dataclass(frozen=True)
class LearnedSeries:
    """A fit of windows, from its settings to its calibration.

    Attributes:
        summary: what the fit made of its series. judged: the windows that judged it.
        of_new: those that judge entities that the fit never saw; None where it is not asked for.
        outlook: whether the budget holds over time.
    """

    config: TrainConfig
    table: Table
    series: Series
    vectorizer: Vectorizer
    fit: WindowFit
    rule: ScoreRule
    graph: bytes
    export_difference: float
    drift: DriftReference
    summary: SeriesSummary
    judged: JudgedWindows
    of_new: JudgedWindows | None
    outlook: Outlook | None

    @property
    def calibration(self) -> Calibration:
        return self.judged.calibration

    @property
    def known(self) -> KnownEntities | None:
        """The entities with windows; None where there is no column of them."""
        names, order = self.table.entities, self.series.order
        if names is None:
            return None
        return KnownEntities.of(names[order[run.rows[0]]] for run in self.series.runs)


def fit_series(
    frame: pl.DataFrame,
    config: TrainConfig,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
    inferred: Schema | None = None,
) -> LearnedSeries:
    """Learn the windows of a frame of normal records.

    Raises:
        SchemaError: the columns cannot be learned, a record has no place in a series, or no
            entity has a full window.
        CalibrationError: there are too few windows for `config.alpha`.
    """
    schema = with_categories_of(inferred or infer_schema(frame, config), frame)
    check_series(frame, schema)
    config = replace(config, served=config.served or SERVED)
    table = checked_table(schema, frame)
    for text in texts_of((*remarks(schema, frame, config.kinds), *of_time(table, config))):
        log.warning("%s", text)
    vectorizer = fit_vectorizer(table)
    series = series_of(table, vectorizer, config)
    _warn_of_repeated(series, config)
    check_alpha(config.alpha, len(series.windows))
    if config.incidents_per_day is not None:
        check_countable(config.incidents_per_day, len(series.windows), series.window)
    if config.calibrate == ENTITIES:
        _check_entities(series)
    most = to_judge(config, series.window)
    fit = fit_windows(series.windows, config, progress, checkpoint, most)
    graph = export_windows(fit.model, kl=config.model == "vae")
    network = WindowNetwork(graph, series.window.size, config.threads)
    difference = check_windows_against_torch(fit.model, network, _probe(series))
    judged = _judged(table, series, fit.model, fit.judged, config)
    if config.incidents_per_day is not None:
        judged = judged.at(judged.alpha_for(config.incidents_per_day))
        config = replace(config, alpha=judged.calibration.alpha)
    of_new = None
    if fit.of_new is not None:
        of_new = _judged(table, series, fit.model, fit.of_new, config, by_entity=True)
    for each in (judged, of_new):
        if each is not None:
            warn_of_few(each)
    return LearnedSeries(
        config=config,
        table=table,
        series=series,
        vectorizer=vectorizer,
        fit=fit,
        rule=ScoreRule(UNSEEN, 0.0, 1.0, newest=_newest(judged, of_new)),
        graph=graph,
        export_difference=difference,
        drift=fit_drift(table),
        summary=_summary(series, judged, of_new),
        judged=judged,
        of_new=of_new,
        outlook=with_changes(
            outlook_of_windows(judged, fit.judged.folds == fit.judged.folds.max()), table
        ),
    )


def _newest(*judged: JudgedWindows | None) -> float:
    """Return what an unseen value of a window's newest record adds: as much as any normal window
    scores, so that it alarms whatever the rest of the window is.
    """
    return max(float(each.scores.max()) for each in judged if each is not None)


def _check_entities(series: Series) -> None:
    """Refuse a single entity where each is to be judged by what saw none of it.

    Raises:
        CalibrationError: there is but one.
    """
    learned = series.entities - series.short
    if learned < 2:
        raise CalibrationError(
            f"--calibrate entities must have two entities with a full window at least, got "
            f"{learned}: each is judged by what saw none of its records. Give records of more, or "
            "leave it out."
        )


def _probe(series: Series) -> Run:
    """Return some neighbouring windows, made less usual, so that every part of them shows."""
    run = max(series.windows.runs, key=lambda run: len(run.rows))
    n = min(PROBES, len(run.rows))
    values = run.values[: n + series.window.size - 1]
    wave = np.sin(np.arange(values.size, dtype=np.float32)).reshape(values.shape)
    return Run(run.rows[:n], values + wave, run.unseen[: len(values)])


def _judged(
    table: Table,
    series: Series,
    model: WindowModel,
    found: OutOfFold,
    config: TrainConfig,
    *,
    by_entity: bool = False,
) -> JudgedWindows:
    """Return windows that judged a fit, which calibrate."""
    scores = model.scales.reconstruction_part(found.views)
    scores = scores + model.scales.neighbour_part(found.views)
    rows = series.windows.rows[found.windows]  # among the records in order of time
    entities = None
    if table.entities is not None:
        entities = [table.entities[i] for i in series.order[rows].tolist()]
    runs = series.windows.run_of[found.windows]
    breaks = (np.diff(found.windows) != 1) | (np.diff(runs) != 0)
    return JudgedWindows(
        window=series.window,
        calibration=calibrate(scores, config.alpha, CROSS_FITTED),
        scores=scores,
        moments=series.windows.moments[rows],
        entities=entities,
        stretches=np.concatenate([[0], np.cumsum(breaks)]),
        by_entity=by_entity,
    )


def _summary(series: Series, judged: JudgedWindows, of_new: JudgedWindows | None) -> SeriesSummary:
    return SeriesSummary(
        entities=series.entities,
        short=series.short,
        gaps=series.gaps,
        repeated=series.repeated,
        windows=len(series.windows),
        blocks=judged.blocks,
        incidents_per_day=judged.incidents(),
        late=series.late,
        period=series.period,
        blocks_of_new=None if of_new is None else of_new.blocks,
        score_blocks=judged.score_blocks,
    )


def _warn_of_repeated(series: Series, config: TrainConfig) -> None:
    """Say so where many records are left out, since their times come again."""
    if series.repeated > REPEATED * len(series.order):
        whose = (
            f"Is there another column beside '{config.entity}' that parts them?"
            if config.entity
            else "If they are of several machines, customers or the like, name the column that "
            "says of which with --entity."
        )
        log.warning(
            "%s of %s records have a time that came before, and are left out. %s",
            *(f"{series.repeated:,}", f"{len(series.order):,}", whose),
        )
