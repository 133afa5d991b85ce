"""LearnedSeries -> SeriesFindings: what a fit of windows shows, while its records are at hand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.schema import code_name
from vaewatch.scoring.series.incidents import incident_starts
from vaewatch.scoring.time.form import Form, spell
from vaewatch.training.records.profile import profile_columns
from vaewatch.training.report.findings import PROFILED
from vaewatch.training.report.series import Lines, Picture, SeriesFindings, Span
from vaewatch.training.sample import decode_prior
from vaewatch.training.series.judged import JudgedWindows
from vaewatch.training.series.pipeline import LearnedSeries
from vaewatch.training.streams import Stream, stream

SHOWN = 8  # features of a window that are drawn
SPANS = 10  # blocks of time
DRAWN = 3  # windows from the prior


def find_series(learned: LearnedSeries) -> SeriesFindings:
    """Collect the findings, from samples that the seed draws."""
    config, fit = learned.config, learned.fit
    rng = stream(config.seed, Stream.FINDINGS)
    profiled = np.sort(rng.permutation(len(learned.table))[:PROFILED])
    names, pictures = _pictures(learned)
    return SeriesFindings(
        profiled=len(profiled),
        columns=profile_columns(learned.table.take(profiled)),
        log=fit.fitted.log,
        batch=config.batch,
        seen=len(fit.fitted.folds.of),
        features=names,
        pictures=pictures,
        alpha=config.alpha,
        spans=spans_of(learned.judged),
    )


def _pictures(learned: LearnedSeries) -> tuple[tuple[str, ...], tuple[Picture, ...]]:
    """Return the typical and the rarest window that judged the fit, and some from the prior."""
    fit, scores = learned.fit, learned.judged.scores
    order = np.argsort(scores, kind="stable")
    chosen = np.array([order[len(order) // 2], order[-1]])
    observed = learned.series.windows.take(fit.judged.windows[chosen])
    residual = fit.model.residuals(observed, fit.model.vae).mean(1).reshape(observed.shape)
    d = len(learned.vectorizer.features)
    most = np.argsort(-(residual[1, :, :d] ** 2).sum(0), kind="stable")[:SHOWN]
    shown = np.sort(most)
    drawn = decode_prior(fit.model.vae, DRAWN, learned.config.seed).mean * fit.model.unit
    prior = fit.model.directions.windows(drawn.astype(np.float32)).reshape(-1, *observed.shape[1:])
    own = [
        Picture(
            kind,
            _place(learned, int(at)),
            float(scores[at]),
            _lines(observed[k][:, shown]),
            _lines((observed - residual)[k][:, shown]),
        )
        for k, (kind, at) in enumerate(zip(("typical", "rare"), chosen, strict=True))
    ]
    own += [Picture("drawn", "", 0.0, _lines(each[:, shown]), ()) for each in prior]
    return tuple(_name(learned.vectorizer, i) for i in shown.tolist()), tuple(own)


def _lines(values: NDArray[np.float32]) -> Lines:
    return tuple(map(tuple, values.T.astype(np.float64).tolist()))


def _place(learned: LearnedSeries, at: int) -> str:
    """Say which record is the last of a judged window."""
    judged = learned.judged
    of = "" if judged.entities is None else f" of {judged.entities[at]}"
    return f"{_time(judged.moments[at])}{of}"


def _time(moment: np.int64) -> str:
    return str(spell(int(moment) // 1_000_000 * 1_000_000, Form.OFFSET))


def _name(vectorizer: Vectorizer, index: int) -> str:
    feature = vectorizer.features[index]
    if feature.code is None:
        return feature.column
    if feature.code < 0:
        return f"{feature.column}: {({-1: 'missing', -2: 'cosine', -3: 'sine'})[feature.code]}"
    column = next(c for c in vectorizer.schema.columns if c.name == feature.column)
    return f"{feature.column} = {code_name(column, feature.code)}"


def spans_of(judged: JudgedWindows) -> tuple[Span, ...]:
    """Count the alarms of judged windows in blocks of time that hold about as many each."""
    calibration = judged.calibration
    alarms = calibration.alarms(calibration.p_values(judged.scores))
    at = np.flatnonzero(alarms)
    names = None if judged.entities is None else [judged.entities[i] for i in at.tolist()]
    starts = np.zeros(len(alarms), bool)
    starts[at] = incident_starts(names, judged.moments[at], judged.window)
    order = np.argsort(judged.moments, kind="stable")
    return tuple(
        Span(
            start=_time(judged.moments[rows[0]]),
            end=_time(judged.moments[rows[-1]]),
            records=len(rows),
            alarms=int(alarms[rows].sum()),
            incidents=int(starts[rows].sum()),
        )
        for rows in np.array_split(order, min(SPANS, len(order)))
    )
