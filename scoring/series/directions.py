"""The leading directions of the fit windows: along them the VAE sees a window."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors


@dataclass(frozen=True)
class Directions:
    """Attributes:
    mean: (W * D,) of the fit windows, each with its oldest record first.
    basis: (W * D, Q), orthonormal columns.
    """

    mean: NDArray[np.float32]
    basis: NDArray[np.float32]

    def places(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, W * D) windows -> (N, Q)."""
        return np.asarray((flat - self.mean) @ self.basis)

    def windows(self, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, Q) -> (N, W * D): the windows that lie there."""
        return np.asarray(places @ self.basis.T + self.mean)

    def to_bytes(self) -> bytes:
        arrays = {"mean": self.mean, "basis": self.basis}
        return save_tensors({name: np.ascontiguousarray(each) for name, each in arrays.items()})


ARRAYS = tuple(field.name for field in fields(Directions))
