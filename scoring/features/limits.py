"""numeric columns -> limits: a number beyond those of its column is unseen.

They lie far outside of all fit records; `vaewatch.training.records.features` sets them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.features.feature import FEATURE_LIMIT, Feature, floats, signed_log1p
from vaewatch.scoring.intake.text import one_line

Limits = Mapping[str, tuple[float, float]]  # (low, high) of a column


def bounds_of(
    values: Sequence[Feature], limits: Limits
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the limits of columns as features, (values,) each, by the steps in which numbers
    become features: what equals a limit is not beyond it. `values`: those in log1p come first.
    """
    ends = np.array([limits.get(f.column, (-math.inf, math.inf)) for f in values]).reshape(-1, 2)
    least, most = np.clip(as_features(values, ends), -FEATURE_LIMIT, FEATURE_LIMIT).T
    return least, most


def as_features(values: Sequence[Feature], numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return numbers of each column, (values, W), as features. `values`: those in log1p come
    first.
    """
    raw = numbers.copy()
    counts = sum(f.log1p for f in values)
    raw[:counts] = signed_log1p(raw[:counts])
    raw -= floats(f.mean for f in values)[:, None]
    raw *= floats(1.0 / f.deviation for f in values)[:, None]
    return raw


def check_limits(features: Sequence[Feature], limits: Limits) -> None:
    """Check that limits are those of columns with a number among the features, and in order.

    Raises:
        ArtifactError: training cannot have written them.
    """
    numbers = {f.column for f in features if f.code is None}
    for name, (low, high) in limits.items():
        if name not in numbers or not -math.inf < low <= high < math.inf:
            raise ArtifactError(
                f"the limits of column '{one_line(name)}' are not those that training writes."
            )
