"""The layers of M members side by side, each with its forward and its backward pass.

Notation: d is the derivative of the loss by what a layer returned. `learn` writes the derivatives
by the layer's weights into their `grad`; `backward` also returns the one by the layer's input.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import silu

from vaewatch.training.vae.step.product import product
from vaewatch.training.vae.vae import StackedLinear


class Affine:
    """x, (M, B, inputs) -> x W + b, (M, B, outputs)."""

    def __init__(self, layer: StackedLinear) -> None:
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.d_weight, self.d_bias = layer.weight.grad, layer.bias.grad

    def forward(self, x: Tensor) -> Tensor:
        self.x = x
        return product(x, self.weight).add_(self.bias)

    def learn(self, d: Tensor) -> None:
        product(self.x.mT, d, out=self.d_weight)
        torch.sum(d, 1, keepdim=True, out=self.d_bias)

    def backward(self, d: Tensor) -> Tensor:
        self.learn(d)
        return product(d, self.weight.mT)


class Hidden:
    """x, (M, B, inputs) -> silu(x W + b), (M, B, outputs)."""

    def __init__(self, layer: StackedLinear) -> None:
        self.affine = Affine(layer)

    def forward(self, x: Tensor) -> Tensor:
        self.a = self.affine.forward(x)
        return silu(self.a)

    def learn(self, d: Tensor) -> None:
        self.affine.learn(self._before_silu(d))

    def backward(self, d: Tensor) -> Tensor:
        return self.affine.backward(self._before_silu(d))

    def _before_silu(self, d: Tensor) -> Tensor:
        before: Tensor = torch.ops.aten.silu_backward(d, self.a)
        return before
