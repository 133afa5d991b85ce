"""records -> the parts of their windows' scores, in torch: what the graph must agree with.

Three views of a window, each of which sees what the others do not (`benchmarks/RESULTS.md`):
- reconstruction: how far it is from what the VAE makes of it. The VAE works on the window's places
  along the leading directions of the fit windows, and all that lies across them counts as error.
- shape: how far it is from the nearest kept windows by the features of random convolutions.
- course: how far it is from them once each column's mean in the window is taken away.
Each is measured in what is usual among normal windows: 0 up to their median, and log1p beyond it,
so that none drowns the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.series.directions import Directions
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.series.kernels import Kernels
from vaewatch.training.vae.vae import VAE

LIMIT = 20.0  # standard deviations: what is further out is as odd as can be
# of the views in a score: the shape is the best one alone on most series; the reconstruction finds
# what it does not, and adds most where it does not outweigh it
RECONSTRUCTION_WEIGHT, SHAPE_WEIGHT = 0.5, 2.0
UNSEEN = 1.0  # what an unseen value within the window adds
FEATURE_LIMIT = 20.0  # of a convolution's feature, in its deviations

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """What is usual of a view among normal windows: its median, and how far from it to the 95 %
    quantile.
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, values: Floats) -> Scale:
        middle, high = np.quantile(values, [0.5, 0.95])
        return cls(float(middle), max(float(high - middle), 1e-6 * max(float(middle), 1.0)))

    def apply(self, values: Floats) -> Floats:
        """(N,) -> (N,): 0 up to the median, 0.7 at the 95 % quantile, and slower beyond it."""
        return np.asarray(np.log1p(np.maximum((values - self.middle) / self.spread, 0.0)))


@dataclass(frozen=True)
class Views:
    """What each view measures of N windows, (N,) each."""

    reconstruction: Floats
    shape: Floats
    course: Floats


@dataclass(frozen=True)
class Scales:
    """What is usual of each view."""

    reconstruction: Scale
    shape: Scale
    course: Scale

    @classmethod
    def of(cls, views: Views) -> Scales:
        return cls(*(Scale.of(view) for view in (views.reconstruction, views.shape, views.course)))

    def reconstruction_part(self, views: Views) -> Floats:
        """Return what the VAE adds to N scores, (N,)."""
        return RECONSTRUCTION_WEIGHT * self.reconstruction.apply(views.reconstruction)

    def neighbour_part(self, views: Views) -> Floats:
        """Return what the nearest kept windows add to N scores, (N,)."""
        shape, course = self.shape.apply(views.shape), self.course.apply(views.course)
        return SHAPE_WEIGHT * shape + course


@dataclass(frozen=True)
class WindowModel:
    """All that the graph computes of windows of `size` records with D numbers.

    Attributes:
        means, deviations: (2K,) of the kernels' features among fit windows.
        shapes: the kept windows by these features. courses: by their records about their means.
        unit: of the VAE's features, which are places along the directions.
        vae: the members whose errors are averaged.
        scales: of each view.
    """

    size: int
    kernels: Kernels
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    shapes: Bank
    courses: Bank
    directions: Directions
    unit: float
    vae: VAE
    scales: Scales

    def shape_features(self, records: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, T, D) clipped records -> (B * (T - W + 1), 2K), standardised."""
        raw = (self.kernels.features(records) - self.means) / self.deviations
        return np.asarray(np.clip(raw, -FEATURE_LIMIT, FEATURE_LIMIT))

    def residuals(self, windows: NDArray[np.float32], vae: VAE) -> NDArray[np.float32]:
        """(N, W, D) clipped windows -> (N, M, W * D): what each member does not explain."""
        flat = windows.reshape(len(windows), -1)
        x = self.directions.places(flat) / np.float32(self.unit)
        with torch.no_grad():
            posterior = vae.encode(torch.from_numpy(x).expand(vae.members, -1, -1))
            expected = vae.decode(posterior.mu).mean.numpy()
        inside = expected * np.float32(self.unit) @ self.directions.basis.T
        return np.asarray((flat - self.directions.mean - inside).swapaxes(0, 1))

    def views(self, records: NDArray[np.float32], windows: NDArray[np.float32]) -> Views:
        """Measure the windows of (B, T, D) clipped records, which are (N, W, D)."""
        residuals = self.residuals(windows, self.vae).astype(np.float64)
        return Views(
            (residuals**2).sum(-1).mean(1),
            self.shapes.distance(self.shape_features(records)),
            self.courses.distance(courses_of(windows)),
        )


def courses_of(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, W, D) -> (N, W * D): the windows without their columns' means."""
    return np.asarray((windows - windows.mean(1, keepdims=True)).reshape(len(windows), -1))
