"""Random convolutions, against loops over single numbers in 64 bits."""

from __future__ import annotations

import numpy as np
import pytest

from vaewatch.training.series.kernels import KERNELS, LEAST_RANGE, SOFT, Kernels


def outputs(kernels: Kernels, window: np.ndarray, k: int) -> np.ndarray:
    """Return what kernel k makes of each step of one window, (W, D)."""
    window = window.astype(np.float64)
    seen = np.concatenate([window[1:], np.diff(window, axis=0)], axis=1)
    mixed = [float(sum(row * kernels.mixing[:, k])) for row in seen]
    taps, dilation = kernels.taps[k].astype(np.float64), int(kernels.dilations[k])
    steps = range(len(mixed) - (len(taps) - 1) * dilation)
    return np.array([sum(w * mixed[t + i * dilation] for i, w in enumerate(taps)) for t in steps])


def features(kernels: Kernels, window: np.ndarray) -> np.ndarray:
    shares, largest = [], []
    for k in range(len(kernels)):
        out = outputs(kernels, window, k)
        above = (out - float(kernels.centres[k])) / float(kernels.widths[k]) + 0.5
        shares.append(np.mean([min(max(x, 0.0), 1.0) for x in above]))
        largest.append(max(out))
    return np.array([*shares, *largest])


@pytest.mark.parametrize(
    ("size", "width"), [(2, 1), (2, 5), (3, 1), (5, 2), (10, 1), (11, 3), (24, 4), (64, 2)]
)
def test_features_are_those_of_a_loop(size: int, width: int):
    rng = np.random.default_rng(size)
    fit = [rng.normal(size=(size + 40, width)).astype(np.float32), np.zeros((1, width), "f4")]
    kernels = Kernels.draw(size, width, seed=1).fitted(fit)
    assert len(kernels) == KERNELS
    records = rng.normal(size=(3, size + 2, width)).astype(np.float32)
    got = kernels.features(records)
    assert got.shape == (3 * 3, 2 * KERNELS)
    for b, start in ((0, 0), (1, 2), (2, 1)):
        want = features(kernels, records[b, start : start + size])
        # where a share steps within a thousandth, 32 bits move it
        np.testing.assert_allclose(got[3 * b + start], want, atol=2e-3, rtol=1e-4)


def test_centres_and_widths_are_quartiles_of_the_fit_records():
    rng = np.random.default_rng(0)
    fit = [rng.normal(size=(200, 2)).astype(np.float32) for _ in range(2)]
    kernels = Kernels.draw(12, 2, seed=0).fitted(fit)
    for k in (0, 100, 255):
        # all steps of a stretch, as if it were one window
        out = np.concatenate([outputs(kernels, each, k) for each in fit])
        low, middle, high = np.quantile(out, [0.25, 0.5, 0.75])
        np.testing.assert_allclose(kernels.centres[k], middle, atol=1e-5)
        np.testing.assert_allclose(
            kernels.widths[k], max(SOFT * (high - low), LEAST_RANGE), rtol=1e-4
        )


@pytest.mark.parametrize("size", [2, 3, 4, 9, 10, 17, 64, 300, 1024])
def test_no_kernel_looks_further_than_a_window(size: int):
    kernels = Kernels.draw(size, 3, seed=2)
    assert max(kernels.reach(int(d)) for d in kernels.dilations) <= size - 2
    assert (np.diff(kernels.dilations) >= 0).all()
    assert [i for own in kernels.groups() for i in range(own.start, own.stop)] == list(range(256))
    for own in kernels.groups():
        assert len(set(kernels.dilations[own].tolist())) == 1
    np.testing.assert_allclose(np.linalg.norm(kernels.mixing, axis=0), 1, rtol=1e-5)
    assert ((kernels.mixing != 0).sum(0) <= 16).all()


def test_the_same_seed_draws_the_same_kernels_and_another_one_others():
    first, again, other = (Kernels.draw(16, 4, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.mixing, again.mixing) and np.array_equal(first.taps, again.taps)
    assert not np.array_equal(first.mixing, other.mixing)
