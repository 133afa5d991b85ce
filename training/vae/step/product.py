"""The products of M members side by side: the linear algebra under every layer."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def product(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """(M, I, K), (M, K, J) -> (M, I, J): the product of each member's matrices, which must not
    require a gradient.

    On one thread of a CPU NumPy multiplies: its OpenBLAS uses AVX-512 on AMD's processors, too,
    where torch's MKL does not, and takes 0.4 of the time (see `benchmarks/RESULTS.md`). There, a
    transposed b is a fifth slower than a copy of it.
    """
    if not _suits_numpy(a):
        return torch.bmm(a, b, out=out)
    left, right = a.numpy(), np.ascontiguousarray(b.numpy())
    if out is None:
        return torch.from_numpy(np.matmul(left, right))
    np.matmul(left, right, out=out.numpy())
    return out


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(M, B, inputs) -> x W + b, (M, B, outputs); autograd can follow it where it is enabled."""
    if torch.is_grad_enabled() or not _suits_numpy(x):
        return torch.baddbmm(bias, x, weight)
    with np.errstate(all="ignore"):
        return product(x, weight.detach()).add_(bias)


def _suits_numpy(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.get_num_threads() == 1
