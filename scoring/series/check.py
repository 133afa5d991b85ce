"""What an artifact of windows must hold, before anything is made of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.intake.contents import check_column_names
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.series.directions import Directions
from vaewatch.scoring.series.limits import MOST_DIRECTIONS, MOST_IN_WINDOW
from vaewatch.scoring.series.window import Window
from vaewatch.scoring.time.spans import LONGEST


def check_window(window: Window, vectorizer: Vectorizer) -> None:
    """Refuse a window that training does not make.

    Raises:
        ArtifactError: it is one.
    """
    if not 2 <= window.size <= MOST_IN_WINDOW:
        raise ArtifactError(
            f"a window must hold 2 to {MOST_IN_WINDOW:,} records, got {window.size:,}."
        )
    if not (0 < window.gap <= LONGEST and 0 < window.step <= LONGEST):
        raise ArtifactError("a window must have a gap and a step above 0, but does not.")
    pace = window.pace
    if pace is not None and not (math.isfinite(pace.mean) and 0 < pace.deviation < math.inf):
        raise ArtifactError("the pace of a window must have a mean and a deviation above 0.")
    schema = vectorizer.schema
    values = {(i, own.value) for i, own in enumerate(vectorizer.by_column.values())}
    if not all((s.column, s.feature) in values and s.records > 2 for s in window.still):
        raise ArtifactError("what stands still in a window must be a number, but is not.")
    if schema.time is None or not schema.time.required:
        raise ArtifactError("a window takes a time that each record has, but the schema has none.")
    if schema.entity is not None:
        check_column_names([schema.entity])
        if schema.entity in ("", schema.time.column, *schema.names):
            raise ArtifactError("the entity must be a column of its own, which is not learned.")


def check_directions(directions: Directions, width: int) -> None:
    """Refuse directions that do not fit windows of `width` numbers.

    Raises:
        ArtifactError: they are such.
    """
    mean, basis = directions.mean, directions.basis
    fits = mean.shape == (width,) and basis.ndim == 2 and basis.shape[0] == width
    if not fits or not 1 <= basis.shape[1] <= MOST_DIRECTIONS or mean.dtype != np.float32:
        raise ArtifactError(f"directions must fit windows of {width:,} numbers, but do not.")
    if basis.dtype != np.float32 or not (np.isfinite(mean).all() and np.isfinite(basis).all()):
        raise ArtifactError("directions must be finite numbers of 32 bits, but are not.")


def check_peaks(peaks: NDArray[Any] | None, scores: int) -> None:
    """Refuse peaks of normal incidents that no calibration of so many scores has.

    Raises:
        ArtifactError: they are such.
    """
    if peaks is None:
        return
    if peaks.dtype != np.float64 or peaks.ndim != 1 or len(peaks) > scores:
        raise ArtifactError(
            f"the peaks of incidents must be at most {scores:,} scores of 64 bits, but are not."
        )
    if not np.isfinite(peaks).all() or not (peaks[1:] >= peaks[:-1]).all():
        raise ArtifactError("the peaks of incidents must be finite and ascend, but do not.")


def check_entities(hashes: NDArray[Any] | None, schema: Schema, *, wanted: bool) -> None:
    """Refuse hashes of entities that training does not make, or none where they are `wanted`.

    Raises:
        ArtifactError: they are such.
    """
    if hashes is None and wanted:
        raise ArtifactError("a calibration of new entities takes hashes of those that are known.")
    if hashes is None:
        return
    if schema.entity is None:
        raise ArtifactError("hashes of entities take a column of them, but the schema has none.")
    if hashes.dtype != np.uint32 or hashes.ndim != 1 or not (hashes[1:] > hashes[:-1]).all():
        raise ArtifactError("hashes of entities must be of 32 bits and ascend, but do not.")
