"""The precision of residuals: what a few gross errors among them may do to it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vaewatch.scoring.precision import Precision
from vaewatch.training.calibration.covariance import FULL_FEATURES, fit_precision


def residuals(n: int, features: int, seed: int) -> NDArray[np.float32]:
    """Residuals in which each feature follows the one before closely."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(n, features)) * np.where(np.arange(features) % 2, 0.03, 1.0)
    steps[:, 1::2] += steps[:, ::2]
    return steps.astype(np.float32)


def distances(precision: Precision, few: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray((precision.whiten(few).astype(np.float64) ** 2).sum(1))


def test_a_few_gross_errors_do_not_hide_what_breaks_a_close_relation():
    clean = residuals(8000, 6, 0)
    spoilt = clean.copy()
    spoilt[::1000, 1] += 40
    later = residuals(100, 6, 1)
    broken = later.copy()
    broken[:, 1] += 0.5  # by half a deviation
    far = {
        name: distances(fit_precision(own), broken) - distances(fit_precision(own), later)
        for name, own in (("clean", clean), ("spoilt", spoilt))
    }
    assert np.median(far["spoilt"]) > 0.7 * np.median(far["clean"]) > 0.5


def test_records_that_are_not_far_out_count_in_full():
    own = residuals(4000, 6, 0)
    moment = own.astype(float).T @ own.astype(float) / len(own)
    shrunk = 0.95 * moment
    shrunk[np.diag_indices(6)] = np.diag(moment) + 1e-4
    inverse = np.linalg.inv(shrunk)
    expected = np.einsum("ni,ij,nj->n", own, inverse, own)
    assert distances(fit_precision(own), own) == pytest.approx(expected, rel=1e-3)


def test_a_few_gross_errors_of_many_columns_widen_hardly_any():
    clean = residuals(8000, FULL_FEATURES + 4, 0)
    spoilt = clean.copy()
    spoilt[::4000] *= 1000
    widened = fit_precision(clean).scale / fit_precision(spoilt).scale
    assert widened.max() < 1.5


def test_a_rare_event_is_no_error():
    own = residuals(4000, 6, 0)
    own[:, 5] = 0.0
    own[::400, 5] = 30.0  # an event that ten records have
    event = np.array([0, 0, 0, 0, 0, 1e-9])
    found = fit_precision(own, event)
    deviation = np.sqrt(np.mean(own[:, 5].astype(float) ** 2))
    assert 1 / found.scale[5] == pytest.approx(deviation, rel=0.01)
    assert 1 / fit_precision(own).scale[5] < 0.7 * deviation
