"""records -> the parts of their windows' scores, in torch: what the graph must agree with.

Views of a window, each of which sees what the others do not (`benchmarks/RESULTS.md`):
- reconstruction: how far it is from what the VAE makes of it. The VAE works on the window's places
  along the leading directions of the fit windows, and all that lies across them counts as error.
- shapes: how far it is from the nearest kept windows by the features of random convolutions; and
  how far its last quarter is, in which a short anomaly fills more of the view.
- course: how far it is from them once each column's mean in the window is taken away.
Each is measured in what is usual among normal windows: 0 up to their median, and log1p beyond it,
so that none drowns the others. A score is their sum; or, if that is more, what the window's last
record or its oddest column is worth by itself, see `vaewatch.training.series.record`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.scoring.series.directions import Directions
from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.odd.scale import OddScale
from vaewatch.training.series.kernels import Kernels
from vaewatch.training.series.record import RecordView
from vaewatch.training.vae.vae import VAE

# of the views in a score: the shape is the best one alone on most series; the reconstruction finds
# what it does not, and adds most where it does not outweigh it
RECONSTRUCTION_WEIGHT, SHAPE_WEIGHT = 0.5, 2.0
BEYOND = 0.2  # of what a record is worth by itself counts above `Scales.most`
UNSEEN = 1.0  # what an unseen value within the window adds
KERNEL_LIMIT = 20.0  # of a convolution's feature, in its deviations
# what is nothing: of a number's variance, of a distance between features, of a number's deviation
LEAST_ERROR, LEAST_SHAPE, LEAST_COURSE = 1e-4, 0.05, 1e-3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """What is usual of a view among normal windows: its median, and how far from it to the 95%
    quantile.
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, values: Floats, least: float) -> Scale:
        """`least`: what is nothing. Where normal windows repeat each other exactly, all that they
        measure is rounding, and it must not decide which is the oddest.
        """
        middle, high = np.quantile(values, [0.5, 0.95])
        return cls(float(middle) + least, max(float(high - middle), least))

    def apply(self, values: Floats) -> Floats:
        """(N,) -> (N,): 0 up to the median, 0.7 at the 95% quantile, and slower beyond it."""
        return np.asarray(np.log1p(np.maximum((values - self.middle) / self.spread, 0.0)))


@dataclass(frozen=True)
class Views:
    """What each view measures of N windows, (N,) each; of shapes, (S, N), and of the last record,
    (R, N), with an R of 0 for records of a single column.
    """

    reconstruction: Floats
    shapes: Floats
    course: Floats
    record: Floats

    def stacked(self) -> Floats:
        """Return all of them, (V, N)."""
        return np.stack([self.reconstruction, self.course, *self.record, *self.shapes])

    @classmethod
    def unstacked(cls, found: Floats, shapes: int) -> Views:
        """Return the views of (V, N), of which so many are of shapes."""
        return cls(found[0], found[-shapes:], found[1], found[2:-shapes])


@dataclass(frozen=True)
class Scales:
    """What is usual of each view.

    most: what a normal window has at most by all else. What a record is worth by itself grows
        slower from there on, so that what lasts for a window ranks above what is odd for a moment.
    """

    reconstruction: Scale
    shapes: tuple[Scale, ...]
    course: Scale
    record: tuple[OddScale, ...] = ()
    most: float = math.inf

    @classmethod
    def of(cls, views: Views, numbers: int) -> Scales:
        """Return the scales of windows of so many numbers."""
        scales = cls(
            Scale.of(views.reconstruction, LEAST_ERROR * numbers),
            tuple(Scale.of(own, LEAST_SHAPE) for own in views.shapes),
            Scale.of(views.course, LEAST_COURSE * numbers**0.5),
        )
        others = scales.reconstruction_part(views) + scales.neighbour_part(views)
        odd = tuple(OddScale.of(own, others) for own in views.record)
        return replace(scales, record=odd, most=float(others.max()))

    @classmethod
    def plain(cls, shapes: int, record: int) -> list[Scales]:
        """Return scales that hide nothing of what is measured, for so many views of the shape and
        of the record: first without these, and then with each of them beyond all else.
        """
        plain = Scale(0.0, 1.0)
        shown = np.diag(np.full(record, 1e3)).tolist()
        odd = [(), *(tuple(OddScale(0.0, 1.0, height) for height in row) for row in shown)]
        return [cls(plain, (plain,) * shapes, plain, own) for own in odd]

    def reconstruction_part(self, views: Views) -> Floats:
        """Return what the VAE adds to N scores, (N,)."""
        return RECONSTRUCTION_WEIGHT * self.reconstruction.apply(views.reconstruction)

    def neighbour_part(self, views: Views) -> Floats:
        """Return what the nearest kept windows add to N scores, (N,), and the records by
        themselves beyond all else.
        """
        shapes = [s.apply(own) for s, own in zip(self.shapes, views.shapes, strict=True)]
        near = np.asarray(SHAPE_WEIGHT * np.sum(shapes, axis=0) + self.course.apply(views.course))
        beside = self.reconstruction_part(views)
        for scale, own in zip(self.record, views.record, strict=False):
            worth = scale.apply(own)
            worth = np.minimum(worth, (1 - BEYOND) * self.most + BEYOND * worth)
            near = np.maximum(near, worth - beside)
        return near


@dataclass(frozen=True)
class Shape:
    """The view of a window's last records by random convolutions.

    Attributes:
        before: how many records of a window it does not see.
        means, deviations: (2K,) of the kernels' features among fit windows.
        bank: the kept windows by these features.
    """

    before: int
    kernels: Kernels
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    bank: Bank

    def features(self, records: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, T, D) clipped records -> (B * (T - W + 1), 2K), standardised."""
        raw = self.kernels.features(np.ascontiguousarray(records[:, self.before :]))
        scaled = (raw - self.means) / self.deviations
        return np.asarray(np.clip(scaled, -KERNEL_LIMIT, KERNEL_LIMIT))

    def only(self, kept: NDArray[np.bool_]) -> Shape:
        """Return the view that compares with some of the kept windows alone."""
        return replace(self, bank=self.bank.only(kept))


@dataclass(frozen=True)
class WindowModel:
    """All that the graph computes of windows of `size` records with D numbers.

    Attributes:
        courses: the kept windows by their records about their means.
        unit: of the VAE's features, which are places along the directions.
        vae: the members whose errors are averaged.
        record: the view of the last record alone; None of records of a single column.
        scales: of each view.
        paced: whether the last number of a record is the pace, see `hide_first_pace`.
    """

    size: int
    shapes: tuple[Shape, ...]
    courses: Bank
    directions: Directions
    unit: float
    vae: VAE
    scales: Scales
    paced: bool = False
    record: RecordView | None = None

    @property
    def measures(self) -> tuple[int, int]:
        """How many views of the shape and of the record there are."""
        return len(self.shapes), self.record.measures if self.record else 0

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
            np.stack([shape.bank.distance(shape.features(records)) for shape in self.shapes]),
            self.courses.distance(courses_of(windows)),
            self.record.measure(windows[:, -2:]) if self.record else np.empty((0, len(windows))),
        )


def courses_of(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, W, D) -> (N, W * D): the windows without their columns' means."""
    return np.asarray((windows - windows.mean(1, keepdims=True)).reshape(len(windows), -1))
