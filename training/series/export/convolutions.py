"""Kernels -> their convolutions in the graph.

ONNX Runtime has kernels for images that take LANES channels at once, and so many times as fast as
those of one axis; a record's numbers stand in an image of one row for them. They take whole LANES.
So the kernels of each dilation are filled up with others that give 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.calibration.neighbours import Bank
from vaewatch.training.export.builder import Builder
from vaewatch.training.series.kernels import Kernels
from vaewatch.training.series.model import KERNEL_LIMIT, Shape

Real = TypeVar("Real", np.float32, np.float64)

END = 2**31 - 1  # of an axis
LANES = 16  # channels at once on the widest processors; others take 4 or 8
EVEN = 4  # channels that convolutions with all channels take


@dataclass(frozen=True)
class Lanes:
    """Where K kernels stand among N channels, of which each dilation has whole LANES."""

    kernels: Kernels

    def groups(self) -> list[tuple[int, slice]]:
        """Return the dilations, and the channels of each."""
        found, start = [], 0
        for own in self.kernels.groups():
            end = start + -(-(own.stop - own.start) // LANES) * LANES
            found.append((int(self.kernels.dilations[own.start]), slice(start, end)))
            start = end
        return found

    def fill(self, values: NDArray[Real]) -> NDArray[Real]:
        """(K, ...) of the kernels -> (N, ...) of the channels, 0 between them."""
        groups = self.groups()
        out = np.zeros((groups[-1][1].stop, *values.shape[1:]), values.dtype)
        for own, (_, channels) in zip(self.kernels.groups(), groups, strict=True):
            out[channels][: own.stop - own.start] = values[own]
        return out

    def fill_both(self, values: NDArray[Real]) -> NDArray[Real]:
        """(2K, ...) of the shares and of the largest values -> (2N, ...)."""
        count = len(self.kernels)
        return np.concatenate([self.fill(values[:count]), self.fill(values[count:])])


def convolve(graph: Builder, shape: Shape, records: str) -> str:
    """(B, T, D) -> (N, 2 * channels): the kernels' features of each window, standardised.

    A kernel's output is taken from its centre, in widths of its soft step, so that both features
    are moved and scaled only once, where they are standardised.
    """
    kernels, lanes = shape.kernels, Lanes(shape.kernels)
    image = _image(graph, shape, records)
    mixing = lanes.fill(_even(kernels.mixing.T, 1))[:, :, None, None]
    taps = lanes.fill(kernels.taps / kernels.widths[:, None])[:, None, None]
    shift = lanes.fill(-kernels.centres / kernels.widths)
    shares, largest = [], []
    for dilation, own in lanes.groups():
        mixed = graph.add("Conv", image, graph.weight(mixing[own]))
        apart: dict[str, Any] = {"group": own.stop - own.start, "dilations": [1, dilation]}
        steps = kernels.size - 1 - kernels.reach(dilation)
        span: dict[str, Any] = {"kernel_shape": [1, steps], "strides": [1, 1]}
        out = graph.add("Conv", mixed, graph.weight(taps[own]), graph.weight(shift[own]), **apart)
        # again, as to cut it in the same pass takes less time than to cut what the first one gives
        high = graph.weight(taps[own]), graph.weight(shift[own] + np.float32(0.5))
        again = graph.add("Conv", mixed, *high, **apart)
        soft = graph.add("Clip", again, graph.weight(0.0), graph.weight(1.0))
        shares.append(graph.add("AveragePool", soft, **span))
        largest.append(graph.add("MaxPool", out, **span))
    whole = graph.add("Concat", *shares, *largest, axis=1)
    rows = graph.add("Transpose", whole, perm=[0, 3, 1, 2])
    raw = graph.add("Reshape", rows, graph.ints(-1, 2 * len(shift)))
    return _standardised(graph, shape, raw)


def _image(graph: Builder, shape: Shape, records: str) -> str:
    """(B, T, D) -> (B, 2D or a few more, 1, steps): the records that the view sees, and by how
    much each differs from the one before.
    """
    steps = graph.add("Transpose", records, perm=[0, 2, 1])
    after, before = (
        graph.add("Slice", steps, graph.ints(start), graph.ints(end), graph.ints(2))
        for start, end in ((shape.before + 1, END), (shape.before, -1))
    )
    both = graph.add("Concat", after, graph.add("Sub", after, before), axis=1)
    if spare := -len(shape.kernels.mixing) % EVEN:
        both = graph.add("Pad", both, graph.ints(0, 0, 0, 0, spare, 0))
    return graph.add("Unsqueeze", both, graph.ints(2))


def _even(weights: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    spare = [(0, -size % EVEN if i == axis else 0) for i, size in enumerate(weights.shape)]
    return np.pad(weights, spare)


def _standardised(graph: Builder, shape: Shape, raw: str) -> str:
    kernels, lanes = shape.kernels, Lanes(shape.kernels)
    unit = np.concatenate([np.ones_like(kernels.widths), kernels.widths])
    zero = np.concatenate([np.zeros_like(kernels.centres), kernels.centres])
    centred = graph.add("Sub", raw, graph.weight(lanes.fill_both((shape.means - zero) / unit)))
    scaled = graph.add("Mul", centred, graph.weight(lanes.fill_both(unit / shape.deviations)))
    return graph.add("Clip", scaled, graph.weight(-KERNEL_LIMIT), graph.weight(KERNEL_LIMIT))


def bank_of(shape: Shape) -> Bank:
    """Return the kept windows, as `convolve` gives the features of others."""
    directions = Lanes(shape.kernels).fill_both(shape.bank.directions)
    return replace(shape.bank, directions=directions)
