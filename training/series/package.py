"""LearnedSeries -> Package: the manifest and the files of an artifact of windows."""

from __future__ import annotations

import numpy as np
import torch
from msgspec.structs import replace
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
from vaewatch.scoring.series.history import History
from vaewatch.scoring.series.judge import arrivals_of, judged
from vaewatch.scoring.series.network import WindowNetwork
from vaewatch.training.export.golden import make_golden
from vaewatch.training.export.pack import Made, manifest_of
from vaewatch.training.export.package import Origin, Package
from vaewatch.training.export.weights import UNIT
from vaewatch.training.marginals import Marginals
from vaewatch.training.series.pipeline import LearnedSeries
from vaewatch.training.series.seen import seen_of

GOLDEN_WINDOWS = 5


def pack_series(learned: LearnedSeries, origin: Origin) -> Package:
    """Return the artifact of a fit of windows."""
    files, series = _files(learned), learned.summary
    calibration = learned.judged.described()
    window, fitted = learned.series.window, learned.fit.fitted
    made = Made(files, calibration, fitted, len(learned.table), window=window, series=series)
    manifest = replace(
        manifest_of(learned, made, origin),
        outlook=learned.outlook,
        new_entities=learned.of_new.described() if learned.of_new else None,
    )
    return Package(manifest, files)


def _files(learned: LearnedSeries) -> dict[str, bytes]:
    unit = torch.tensor([learned.fit.model.unit], dtype=torch.float64)
    return {
        NETWORK: learned.graph,
        DIRECTIONS: learned.fit.model.directions.to_bytes(),
        CALIBRATION: pack_calibration(
            learned.calibration,
            learned.drift,
            peaks=learned.judged.peaks(),
            entities=learned.known,
            of_new=learned.of_new.calibration if learned.of_new else None,
        ),
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
