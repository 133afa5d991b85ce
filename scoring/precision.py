"""residuals -> whitened residuals, by the inverse covariance of normal reconstruction errors.

The squared length of a whitened residual is r' Sigma^-1 r, so the network returns whitened
residuals and a score needs only their sum of squares. Only an alarm's reasons need more, to say
which features it came from: r Sigma^-1.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

Floats = NDArray[np.floating[Any]]
ARRAYS = ("scale", "basis", "shrink")


@dataclass(frozen=True)
class Precision:
    """Sigma^-1 = root root', with root = diag(scale) (I - basis diag(shrink) basis').

    With R = D any Sigma has this form: the eigenvectors of its correlations are the basis. With a
    small R no D x D matrix is made.

    Attributes:
        scale: (D,).
        basis: (D, R), orthonormal.
        shrink: (R,), below 1.
    """

    scale: Floats
    basis: Floats
    shrink: Floats

    @property
    def is_full(self) -> bool:
        """Whether it holds every correlation: R = D."""
        return bool(self.basis.shape[0] == self.basis.shape[1])

    def whiten(self, residuals: Floats) -> Floats:
        """Return r root for residuals r, (..., D)."""
        return self._along(residuals * self.scale, -self.shrink)

    def weigh(self, whitened: Floats) -> Floats:
        """Return r Sigma^-1 for whitened residuals r root, (..., D)."""
        return self._along(whitened, -self.shrink) * self.scale

    def entries(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
        """Return the entries of Sigma^-1 at these rows and columns, (N,)."""
        shrink = self.shrink * (2 - self.shrink)
        inner = (rows == columns) - (self.basis[rows] * shrink * self.basis[columns]).sum(1)
        return np.asarray(self.scale[rows] * inner * self.scale[columns])

    def among(self, features: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the entries of Sigma^-1 among K features, (..., K) -> (..., K, K)."""
        own, scale = self.basis[features].astype(np.float64), self.scale[features]
        shared = own * (self.shrink * (2 - self.shrink)) @ own.swapaxes(-1, -2)
        inner = np.eye(features.shape[-1]) - shared
        return np.asarray(scale[..., :, None] * inner * scale[..., None, :], dtype=np.float64)

    def _along(self, rows: Floats, factors: Floats) -> Floats:
        """Return rows (I + basis diag(factors) basis').

        The rows are flattened first: of three axes NumPy would make a product for each record.
        """
        flat = rows.reshape(-1, rows.shape[-1])
        return rows + ((flat @ self.basis * factors) @ self.basis.T).reshape(rows.shape)

    def to_bytes(self) -> bytes:
        """Pack the arrays in single precision, which is enough for reasons."""
        arrays = dict(zip(ARRAYS, astuple(self), strict=True))
        return save_tensors(
            {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Precision:
        return cls(**load_tensors(data))
