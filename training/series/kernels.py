"""windows -> features by random convolutions, which are drawn and never fitted.

After MiniRocket (Dempster, Schmidt & Webb, KDD 2021; arXiv 2012.08791): of each dilated
convolution, the share of the window's steps at which it is above its median in the fit data, and
its largest value. Each kernel sees a random mixture of a few of the records' features and of their
changes from the record before. The share is softened, so that rounding cannot make it jump.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool1d, conv1d, max_pool1d

from vaewatch.training.streams import Stream, stream

KERNELS = 256
TAPS = 9
MOST_MIXED = 16  # of a record's numbers that one kernel sees
SOFT = 0.1  # of the interquartile range: how wide the step of the share is
LEAST_RANGE = 1e-3
ROWS = 20_000  # outputs that a median is taken from


@dataclass(frozen=True)
class Kernels:
    """K random convolutions, in order of their dilations.

    Attributes:
        mixing: (2D, K) weights of a record's features, and of their changes.
        taps: (K, L) weights of a kernel's steps, the oldest first.
        dilations: (K,) records from one step of a kernel to the next.
        centres, widths: (K,) of the soft step.
    """

    size: int
    mixing: NDArray[np.float32]
    taps: NDArray[np.float32]
    dilations: NDArray[np.int64]
    centres: NDArray[np.float32]
    widths: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.taps)

    @classmethod
    def draw(cls, size: int, width: int, seed: int, *, paced: bool = False) -> Kernels:
        """Draw kernels for windows of `size` records with `width` numbers. If the last of these is
        the pace, they do not see its changes, as the first record of a window shows none.
        """
        rng = stream(seed, Stream.KERNELS)
        steps = size - 1  # changes need the record before
        length = TAPS if steps >= TAPS else max(1, (steps + 1) // 2)
        most = int(np.log2(max((steps - 1) / max(length - 1, 1), 1)))
        dilations = np.sort(2 ** rng.integers(0, most + 1, KERNELS))
        mixing, seen = np.zeros((2 * width, KERNELS)), 2 * width - paced
        for k in range(KERNELS):
            count = int(2 ** rng.uniform(0, np.log2(min(seen, MOST_MIXED) + 0.99)))
            mixing[rng.choice(seen, count, replace=False), k] = rng.normal(size=count)
        taps = rng.normal(size=(KERNELS, length))
        if length > 1:
            level = rng.random(KERNELS) < 0.5  # half of the kernels do not see it
            taps[level] -= taps[level].mean(1, keepdims=True)
        return cls(
            size,
            _unit(mixing, 0).astype(np.float32),
            _unit(taps, 1).astype(np.float32),
            dilations,
            np.zeros(KERNELS, np.float32),
            np.ones(KERNELS, np.float32),
        )

    def fitted(self, records: list[NDArray[np.float32]]) -> Kernels:
        """Return the kernels with the centres and widths of these stretches of fit records, each
        (T, W).
        """
        every = max(1, sum(map(len, records)) // ROWS)
        outputs = [
            [
                out[:, :, ::every].transpose(0, 1).flatten(1)
                for _, out in self._convolve(torch.from_numpy(some))
            ]
            for some in _alike([each for each in records if len(each) >= self.size])
        ]
        together = [torch.cat(group, -1).numpy() for group in zip(*outputs, strict=True)]
        low, middle, high = (
            np.concatenate([np.quantile(group, q, axis=-1) for group in together])
            for q in (0.25, 0.5, 0.75)
        )
        widths = np.maximum(SOFT * (high - low), LEAST_RANGE).astype(np.float32)
        return replace(self, centres=middle.astype(np.float32), widths=widths)

    @torch.no_grad()
    def features(self, records: NDArray[np.float32]) -> NDArray[np.float32]:
        """(B, T, D) records -> (B * (T - W + 1), 2K): of each window its K shares, then its K
        largest values.
        """
        shares, largest = [], []
        for kernels, out in self._convolve(torch.from_numpy(records)):
            span = self.size - 1 - self.reach(int(self.dilations[kernels.start]))
            centre, width = (
                torch.from_numpy(part[kernels])[:, None] for part in (self.centres, self.widths)
            )
            soft = ((out - centre) / width + 0.5).clamp(0, 1)
            shares.append(avg_pool1d(soft, span, 1))
            largest.append(max_pool1d(out, span, 1))
        whole = torch.cat([*shares, *largest], 1)  # (B, 2K, T - W + 1)
        return np.asarray(whole.transpose(1, 2).reshape(-1, 2 * len(self)).numpy())

    def reach(self, dilation: int) -> int:
        """Return from how many records before a step a kernel sees."""
        return int(self.taps.shape[1] - 1) * dilation

    def groups(self) -> Iterator[slice]:
        """Yield the kernels of each dilation."""
        starts = np.flatnonzero(np.diff(self.dilations, prepend=0)).tolist()
        for start, end in zip(starts, [*starts[1:], len(self)], strict=True):
            yield slice(start, end)

    def _convolve(self, records: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
        """(B, T, D) -> for each dilation its k kernels, and (B, k, steps)."""
        after, before = records[:, 1:], records[:, :-1]
        mixed = torch.cat([after, after - before], 2) @ torch.from_numpy(self.mixing)
        for kernels in self.groups():
            own = mixed[:, :, kernels].transpose(1, 2)
            taps = torch.from_numpy(self.taps[kernels])[:, None]
            dilation = int(self.dilations[kernels.start])
            yield kernels, conv1d(own, taps, dilation=dilation, groups=len(taps))


def _alike(records: list[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Yield stretches of as many records together, (B, T, D): many entities have few records."""
    by_length: dict[int, list[NDArray[np.float32]]] = {}
    for each in records:
        by_length.setdefault(len(each), []).append(each)
    for length, alike in by_length.items():
        count = max(1, ROWS // length)
        for start in range(0, len(alike), count):
            yield np.stack(alike[start : start + count])


def _unit(weights: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Scale to unit length along an axis; what is 0 stays 0."""
    length = np.linalg.norm(weights, axis=axis, keepdims=True)
    return np.asarray(weights / np.maximum(length, 1e-9))
