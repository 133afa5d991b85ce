"""LearnedSeries -> Package: the manifest and the files of an artifact of windows."""

from __future__ import annotations

from dataclasses import asdict, astuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as save_weights

from vaewatch.scoring.artifact import (
    CALIBRATION,
    DIRECTIONS,
    GOLDEN,
    MARGINALS,
    NETWORK,
    SEEN,
    WEIGHTS,
    Golden,
    pack_calibration,
    pack_golden,
)
from vaewatch.scoring.budget.described import describe_blocks
from vaewatch.scoring.disk.naming import name_version, now
from vaewatch.scoring.manifest import (
    Manifest,
    Metrics,
    Run,
    ScoreWeights,
    Settings,
    VectorizerState,
    format_of,
)
from vaewatch.scoring.series.history import History
from vaewatch.scoring.series.judge import arrivals_of, judged
from vaewatch.scoring.series.network import WindowNetwork
from vaewatch.training.export.package import Origin, Package, library_versions, make_golden
from vaewatch.training.export.weights import UNIT
from vaewatch.training.marginals import Marginals
from vaewatch.training.series.pipeline import LearnedSeries
from vaewatch.training.series.seen import seen_of

GOLDEN_WINDOWS = 5


def pack_series(learned: LearnedSeries, origin: Origin) -> Package:
    """Return the artifact of a fit of windows."""
    files = _files(learned)
    schema, window = learned.table.schema, learned.series.window
    manifest = Manifest(
        format_version=format_of(schema, window),
        version=name_version(files, schema, learned.config.alpha, window),
        created_at=now(),
        alpha=learned.config.alpha,
        calibration=describe_blocks(learned.calibration, learned.summary.blocks),
        schema=schema,
        vectorizer=msgspec.convert(learned.vectorizer.to_json(), VectorizerState),
        score=ScoreWeights(*astuple(learned.rule)),
        training=Settings(**asdict(learned.config)),
        metrics=_metrics(learned),
        libraries=library_versions(),
        name=origin.name,
        data_fingerprint=origin.data_fingerprint,
        records_given=origin.records_given,
        run=Run(origin.fit_seconds),
        outlook=learned.outlook,
        sha256={},  # of the files as they are written
        window=window,
        series=learned.summary,
    )
    return Package(manifest, files)


def _files(learned: LearnedSeries) -> dict[str, bytes]:
    unit = torch.tensor([learned.fit.model.unit], dtype=torch.float64)
    return {
        NETWORK: learned.graph,
        DIRECTIONS: learned.fit.model.directions.to_bytes(),
        CALIBRATION: pack_calibration(learned.calibration, learned.drift),
        GOLDEN: pack_golden(_golden(learned)),
        WEIGHTS: save_weights(learned.fit.fitted.vae.state_dict() | {UNIT: unit}),
        MARGINALS: Marginals.of(learned.table).to_bytes(),
        SEEN: seen_of(learned.table).to_bytes(),
    }


def _golden(learned: LearnedSeries) -> Golden:
    """Return the shortest stretch of records with a few full windows, and their scores."""
    series, size = learned.series, learned.series.window.size
    run = max(series.runs, key=lambda run: len(run.rows))
    count = min(GOLDEN_WINDOWS, len(run.rows))
    own = _records_of(learned, int(run.rows[0]))
    at = int(np.flatnonzero(own == run.rows[0])[0])
    rows = series.order[own[at - size + 1 : at + count]]
    few = learned.table.take(rows)
    taken = History(series.window).add(arrivals_of(learned.vectorizer, few))
    scores = judged(taken, WindowNetwork(learned.graph, size), learned.rule).scores
    return make_golden(few, scores, learned.calibration.p_values(scores))


def _records_of(learned: LearnedSeries, row: int) -> NDArray[np.int64]:
    """Return the records of the entity of one of them, in order of time, without repeated ones."""
    order, table = learned.series.order, learned.table
    rows = np.arange(len(order))
    if table.entities is not None:
        name = table.entities[int(order[row])]
        rows = np.array([i for i, at in enumerate(order.tolist()) if table.entities[at] == name])
    moments = learned.series.windows.moments[rows]
    return np.asarray(rows[np.concatenate([[True], np.diff(moments) > 0])])


def _metrics(learned: LearnedSeries) -> Metrics:
    last = learned.fit.fitted.log[-1]
    return Metrics(
        records=len(learned.table),
        fit_records=len(learned.table),
        trimmed_records=0,
        features=len(learned.vectorizer.features),
        latent=learned.fit.fitted.vae.latent,
        reconstruction_nll=last.reconstruction_nll,
        kl=last.kl,
        export_difference=learned.export_difference,
    )
