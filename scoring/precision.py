"""residuals <-> whitened residuals: how the features' reconstruction errors go together in normal
records.

A whitened residual's squared length is r' Sigma^-1 r, so that is what the network gives: a sum of
squares is all that a score needs. Only an alarm's reasons ask for the way back, to say which
features it came from.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Precision:
    """Sigma^-1 = root root', with root = diag(scale) (I - basis diag(shrink) basis').

    scale: (D,). basis: (D, R), orthonormal. shrink: (R,), below 1. With R = D any Sigma has this
    form (its correlations' eigenvectors are the basis); with a small R no D x D matrix is made.
    """

    scale: Floats
    basis: Floats
    shrink: Floats

    def whiten(self, residuals: Floats) -> Floats:
        """(..., D) r -> r root."""
        return self._along(residuals * self.scale, -self.shrink)

    def unwhiten(self, whitened: Floats) -> Floats:
        """(..., D) r root -> r."""
        return self._along(whitened, self.shrink / (1 - self.shrink)) / self.scale

    def weigh(self, whitened: Floats) -> Floats:
        """(..., D) r root -> r Sigma^-1."""
        return self._along(whitened, -self.shrink) * self.scale

    def _along(self, rows: Floats, factors: Floats) -> Floats:
        """rows (I + basis diag(factors) basis'), as two large products: of three axes NumPy would
        make one product for each record.
        """
        flat = rows.reshape(-1, rows.shape[-1])
        return rows + ((flat @ self.basis * factors) @ self.basis.T).reshape(rows.shape)

    def to_bytes(self) -> bytes:
        """In single precision, which is enough for reasons."""
        names = ("scale", "basis", "shrink")
        arrays = dict(zip(names, astuple(self), strict=True))
        return save_tensors(
            {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Precision:
        return cls(**load_tensors(data))
