"""fit records -> those without the suspects of a first fit, for contaminated data.

A first stack is fitted to all records. Each record is scored by the member that did not see it,
so that an anomaly cannot hide by being learned. Records that score far above the bulk, at most a
tenth, are left out of the second fit. What calibrates is never trimmed: without the highest scores
the threshold would be too low, and normal records would alarm more often than asked.

Many anomalies that are alike stay: a stack that saw most of them has learned the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.precision import Precision
from vaewatch.scoring.table import Table
from vaewatch.training.calibration.covariance import fit_precision
from vaewatch.training.calibration.out_of_bag import OutOfBag, out_of_bag
from vaewatch.training.calibration.rules import Rules
from vaewatch.training.config import TrainConfig
from vaewatch.training.progress import Progress
from vaewatch.training.records.features import fit_vectorizer
from vaewatch.training.split.split import Split
from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.fit import fit_vae

MOST = 0.1  # of the fit records
FAR = 2.5  # robust deviations of the log score above its median
NORMAL_MAD = 1.4826  # a normal law's deviation over its median absolute deviation
SHAPING = 20_000  # records whose residuals shape the precision
CHUNK = 16_384


def trim(table: Table, split: Split, config: TrainConfig, progress: Progress) -> Split:
    """Return the split with its suspects moved from `fit` to `trimmed`."""

    def first(phase: str, done: int, total: int) -> None:
        progress(f"first {phase}", done, total)

    suspect = suspects(_first_scores(table.take(split.fit), config, first))
    return replace(split, fit=split.fit[~suspect], trimmed=split.fit[suspect])


def suspects(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) scores -> (N,) which lie beyond the cut; at most the tenth that scores worst."""
    logs = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    middle = np.median(logs)
    deviation = NORMAL_MAD * np.median(np.abs(logs - middle))
    cut = max(middle + FAR * deviation, np.quantile(logs, 1 - MOST))
    return np.asarray(logs > cut)


def _first_scores(table: Table, config: TrainConfig, progress: Progress) -> NDArray[np.float64]:
    vectorizer = fit_vectorizer(table)
    x = vectorizer.transform(table).values
    fitted = fit_vae(x, config, progress)
    rules = Rules.of(vectorizer.features, len(x))

    def seen_by_others(rows: NDArray[np.int64]) -> OutOfBag:
        return out_of_bag(fitted, x, rows, kl=config.model == "vae")

    order = stream(config.seed, Stream.TRIM).permutation(len(x))
    precision = _bulk_precision(seen_by_others(np.sort(order[:SHAPING])), rules)
    chunks = np.split(np.arange(len(x)), np.arange(CHUNK, len(x), CHUNK))
    return np.concatenate([_score(seen_by_others(rows), precision, rules) for rows in chunks])


def _bulk_precision(oob: OutOfBag, rules: Rules) -> Precision:
    """Fit the precision without the tenth that scores worst: anomalies would widen it."""
    scores = _score(oob, oob.precision(), rules)
    bulk = oob.residuals[scores <= np.quantile(scores, 1 - MOST)]
    return fit_precision(bulk)


def _score(oob: OutOfBag, precision: Precision, rules: Rules) -> NDArray[np.float64]:
    return rules.cost(oob.residuals, precision) + oob.kl
