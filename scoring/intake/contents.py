"""the parts of an artifact -> refused where training cannot have made them.

Scoring trusts what it was loaded from: a calibration that is not sorted would give p-values
without a warning. Here everything that it rests on is looked at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import CROSS_FITTED, SPLIT
from vaewatch.scoring.drift import BINS, bins_of
from vaewatch.scoring.errors import ArtifactError, SchemaError, SettingError
from vaewatch.scoring.features.feature import (
    INDICATOR,
    MISSING_FLAG,
    Feature,
    feature_order,
)
from vaewatch.scoring.intake.text import LINE_BREAKS, has_control, one_line
from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.precision import Precision
from vaewatch.scoring.schema import Column, Kind, Schema, missing_code
from vaewatch.scoring.time.circles import COSINE, SINE
from vaewatch.scoring.time.parts import PERIODS
from vaewatch.scoring.time.zone import UTC_NAMES, zone_named

LONGEST = 1000  # characters of a name
MOST_GOLDEN = 1000  # records that loading scores
MOST_MEMBERS = 100_000
MOST_COLUMNS = 20_000
MOST_FEATURES = 200_000
MOST_COUNTED = 10**15  # records in a bin
UNLIKE = "are not those that training writes"


def check_counts(manifest: Manifest) -> None:
    """Check how much there is before anything looks at each of it."""
    columns, features = len(manifest.schema.columns), len(manifest.vectorizer.features)
    for what, count, most in (
        ("columns", columns, MOST_COLUMNS),
        ("features", features, MOST_FEATURES),
    ):
        if count > most:
            raise ArtifactError(f"there must be at most {most:,} {what}, got {count:,}.")


def check_names(manifest: Manifest) -> None:
    """Check what is shown to people, logged, and put into metrics."""
    calibration, training = manifest.calibration, manifest.training
    texts = {
        "name": [manifest.name],
        "version": [manifest.version],
        "created_at": [manifest.created_at],
        "data_fingerprint": [manifest.data_fingerprint],
        "libraries": [*manifest.libraries, *manifest.libraries.values()],
        "parent": [manifest.parent or ""],
        "calibration": [calibration.rule, *calibration.thresholds, *calibration.records_needed],
        "segments": [x for s in calibration.segments for x in (s.segment or "", s.calibration)],
    }
    if time := manifest.schema.time:
        texts["schema.time"] = [time.first, time.last]
    if outlook := manifest.outlook:
        every = [*outlook.blocks, outlook.together, outlook.lately]
        texts["outlook"] = [text for block in every for text in (block.start, block.end)]
        if not outlook.blocks:
            raise ArtifactError("manifest.json must hold a block of time in the key 'outlook'.")
        if not {c.column for c in outlook.changed or ()} <= set(manifest.schema.names):
            raise ArtifactError(f"the columns in manifest.json, key 'outlook', {UNLIKE}.")
    for key, values in texts.items():
        for value in values:
            _require_text(f"manifest.json, key '{key}',", value)
    try:
        datetime.fromisoformat(manifest.created_at)
    except ValueError:
        raise ArtifactError(
            "manifest.json must hold an ISO 8601 time in the key 'created_at'."
        ) from None
    if calibration.rule not in (SPLIT, CROSS_FITTED):
        raise ArtifactError(
            f"calibration.rule must be {SPLIT} or {CROSS_FITTED}, got '{calibration.rule}'."
        )
    if not 0 < training.served <= training.members <= MOST_MEMBERS:
        raise ArtifactError(
            f"training.served must be from 1 to the {training.members:,} members, got "
            f"{training.served:,}."
        )


def check_column_names(names: Iterable[str]) -> None:
    """Refuse names that would steer a terminal; those of spreadsheets may have line breaks."""
    for name in names:
        _require_text("a column's name", name, LINE_BREAKS)


def _require_text(what: str, text: str, allowed: str = "") -> None:
    if has_control(text, allowed) or len(text) > LONGEST:
        raise ArtifactError(
            f"{what} must have at most {LONGEST:,} characters and no control characters, got "
            f"'{one_line(text)[:80]}'."
        )


def require_few(columns: Collection[str]) -> None:
    """Refuse more columns to learn than an artifact may have.

    Raises:
        SchemaError: there are more.
    """
    if len(columns) > MOST_COLUMNS:
        raise SchemaError(
            f"the input must have at most {MOST_COLUMNS:,} columns to learn, got "
            f"{len(columns):,}. Leave some out with --ignore."
        )


def check_schema(schema: Schema) -> None:
    """Check that each column is there once, and each of its categories."""
    if not schema.columns:
        raise ArtifactError("the schema must have a column, got none.")
    time = None if schema.time is None else schema.time.column
    apart = [name for name in (schema.id, schema.label, time) if name is not None]
    check_column_names([*schema.names, *apart])
    names = [*schema.names, *apart]
    if twice := _first_twice(names):
        raise ArtifactError(f"column '{one_line(twice)}' must be there once, got it twice.")
    for column in schema.columns:
        if (twice := _first_twice(column.categories)) is not None:
            raise ArtifactError(
                f"category '{one_line(twice)}' of column '{one_line(column.name)}' must be there "
                "once, got it twice."
            )
        if not _finite(
            x for x in (column.low, column.high, *(column.usual or ())) if x is not None
        ):
            raise ArtifactError(f"column '{one_line(column.name)}' must have a finite range.")
        if column.low is not None and column.high is not None and column.low > column.high:
            raise ArtifactError(
                f"column '{one_line(column.name)}' must have a range from low to high."
            )
    kinds = {column.name: column.kind for column in schema.columns}
    if schema.segment is not None and kinds.get(schema.segment) is not Kind.CATEGORICAL:
        raise ArtifactError(
            f"the segment must be a categorical column, got '{one_line(schema.segment)}'."
        )
    _check_calendar(schema)


def _check_calendar(schema: Schema) -> None:
    """Check that the circular columns are those that the time gives, and come last."""
    time, circular = schema.time, schema.circular
    try:
        given = [] if time is None else [(time.column_of(p), PERIODS[p]) for p in time.calendar]
        if time is not None and time.zone not in UTC_NAMES:
            zone_named(time.zone)
    except SettingError as error:
        raise ArtifactError(f"the time zone of the schema cannot be used: {error}") from None
    last = schema.columns[len(schema.columns) - len(circular) :]
    if last != circular or [(c.name, c.period) for c in circular] != given:
        raise ArtifactError(f"the calendar of the schema, or its order, {UNLIKE}.")


def _first_twice(names: Sequence[str]) -> str | None:
    seen = set[str]()
    for name in names if len(set(names)) < len(names) else ():
        if name in seen:
            return name
        seen.add(name)
    return None


def check_features(
    schema: Schema, features: Sequence[Feature], constants: Mapping[str, float]
) -> None:
    """Check that each feature is one of its column, finite, and in its place."""
    columns = {column.name: column for column in schema.columns}
    if not features:
        raise ArtifactError("there must be a feature, got none.")
    for feature in features:
        _require_column(feature.column, columns)
        code, column = feature.code, columns[feature.column]
        fits = feature.deviation > 0 and _finite((feature.mean, feature.deviation))
        if not fits or not _fits(code, column) or (feature.log1p and code is not None):
            raise ArtifactError(f"the features of column '{one_line(column.name)}' {UNLIKE}.")
    for name, value in constants.items():
        _require_column(name, columns)
        numeric = columns[name].is_number
        if not _finite([value]) or not (numeric or _fits(value, columns[name])):
            raise ArtifactError(f"the constant of column '{one_line(name)}' {UNLIKE}.")
    keys = [(feature.column, feature.code) for feature in features]
    order = [feature_order(feature) for feature in features]
    if len(set(keys)) < len(keys) or order != sorted(order) or not _side_by_side(features):
        raise ArtifactError(f"the features, or their order, {UNLIKE}.")


def _require_column(name: str, columns: Mapping[str, Column]) -> None:
    if name not in columns:
        raise ArtifactError(f"each feature must be of a column, got '{one_line(name)}'.")


def _fits(code: Any, column: Column) -> bool:
    """Return whether a code is one that a feature of the column may have."""
    if column.kind is Kind.CIRCULAR:
        return code in (COSINE, SINE, MISSING_FLAG)
    if column.kind is Kind.NUMERIC:
        return code is None or code == MISSING_FLAG
    return isinstance(code, int) and 0 <= code <= missing_code(column)


def _side_by_side(features: Sequence[Feature]) -> bool:
    """Return whether the indicators of each column follow one another."""
    discrete = [f.column for f in features if feature_order(f) == INDICATOR]
    changes = sum(a != b for a, b in zip(discrete, discrete[1:], strict=False))
    return not discrete or changes + 1 == len(set(discrete))


def check_calibration(scores: NDArray[Any], n: int) -> None:
    """Check the calibration scores, (n,): a search among them must find the right place."""
    if scores.dtype != np.float64 or scores.ndim != 1 or len(scores) != n or not n:
        raise ArtifactError(
            f"the calibration must be {n:,} scores, at least one, as the manifest says, got "
            f"{_shape(scores)} of {scores.dtype}."
        )
    if not np.isfinite(scores).all():
        raise ArtifactError("the calibration scores must be finite, got NaN or infinity.")
    if not (scores[1:] >= scores[:-1]).all():
        raise ArtifactError("the calibration scores must ascend, but do not.")


def check_segments(
    schema: Schema, codes: NDArray[Any], sizes: NDArray[Any], scores: NDArray[Any]
) -> None:
    """Check the scores of the segments that have a calibration of their own: `sizes` of them for
    each of `codes`, (S,), one after another.
    """
    column = next(c for c in schema.columns if c.name == schema.segment)
    for name, array, dtype in (
        ("codes", codes, np.int64),
        ("sizes", sizes, np.int64),
        ("scores", scores, np.float64),
    ):
        if array.ndim != 1 or array.dtype != dtype:
            raise ArtifactError(f"the {name} of the segments {UNLIKE}.")
    known = ((codes >= 0) & (codes < len(column.categories))).all()
    if not known or not (codes[1:] > codes[:-1]).all() or len(sizes) != len(codes):
        raise ArtifactError(f"the codes of the segments {UNLIKE}.")
    if (sizes < 1).any() or (sizes > len(scores)).any() or sizes.sum() != len(scores):
        raise ArtifactError(f"the sizes of the segments {UNLIKE}.")
    for own, n in zip(np.split(scores, np.cumsum(sizes)[:-1]), sizes.tolist(), strict=False):
        check_calibration(own, n)


def check_rule(*weights: float) -> None:
    if not _finite(weights) or min(weights) < 0:
        raise ArtifactError("the weights of the score must be finite and at least 0.")


def check_precision(precision: Precision, features: int) -> None:
    """Check the inverse covariance of D features."""
    scale, basis, shrink = precision.scale, precision.basis, precision.shrink
    rank = shrink.shape[0] if shrink.ndim == 1 else -1
    if scale.shape != (features,) or basis.shape != (features, rank):
        raise ArtifactError(
            f"the precision must be of {features:,} features, got {_shape(scale)} and "
            f"{_shape(basis)}."
        )
    finite = all(a.dtype.kind == "f" and np.isfinite(a).all() for a in (scale, basis, shrink))
    if not finite or not (scale > 0).all() or not (shrink < 1).all():
        raise ArtifactError(f"the numbers of the precision {UNLIKE}.")


def check_drift(schema: Schema, edges: NDArray[Any], counts: NDArray[Any]) -> None:
    """Check the bins of the drift reference."""
    width = int(bins_of(schema).max())
    shapes = (len(schema.numeric), BINS - 1), (len(schema.columns), width)
    typed = edges.dtype == np.float64 and counts.dtype == np.int64
    if (edges.shape, counts.shape) != shapes or not typed:
        raise ArtifactError(f"the bins of the drift reference {UNLIKE}.")
    few = ((counts >= 0) & (counts <= MOST_COUNTED)).all()
    if not np.isfinite(edges).all() or (edges[:, 1:] < edges[:, :-1]).any() or not few:
        raise ArtifactError(f"the bins of the drift reference {UNLIKE}.")


def check_golden(golden: Any, before: int = 0) -> None:
    """Check that there is something to verify a graph with, beside the `before` records that only
    stand before those that are judged.
    """
    keys = ("records", "scores", "p_values")
    lists = [golden.get(key) if isinstance(golden, dict) else None for key in keys]
    if not all(isinstance(each, list) for each in lists):
        raise ArtifactError(f"golden.json must hold the lists {', '.join(keys)}.")
    records, *numbers = (each for each in lists if each is not None)
    judged = len(records) - before
    if not 0 < judged <= MOST_GOLDEN or {len(each) for each in numbers} != {judged}:
        raise ArtifactError(
            f"golden.json must hold 1 to {MOST_GOLDEN:,} records and a score and a p-value for "
            f"each, got {judged:,} records."
        )
    plain = all(isinstance(x, int | float) for each in numbers for x in each)
    if not plain or not all(map(_finite, numbers)):
        raise ArtifactError("golden.json must hold finite scores and p-values.")


def _finite(numbers: Iterable[float]) -> bool:
    try:
        return all(map(math.isfinite, numbers))
    except OverflowError:  # an integer beyond the floats
        return False


def _shape(array: NDArray[Any]) -> str:
    return re.sub(r"[(),]+", " ", " x ".join(map(str, array.shape))).strip() or "one number"
