"""gradients -> weights: a step of AdamW (Loshchilov & Hutter, 2019).

PyTorch's class for it would import its compiler, which takes seconds and is not used here.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from vaewatch.training.vae.step.flat import Flat

BETAS = (0.9, 0.99)
WEIGHT_DECAY = 1e-4
EPSILON = 1e-8
# weights in a piece: CUDA's kernel gives a block at most 65,536 of one tensor, and so would leave
# most of a GPU idle. Not measured on a GPU.
PIECE = {"cuda": 4096}


class AdamW:
    """The optimiser of a flat network. first, second: its moments, (P,). count: steps taken."""

    def __init__(self, flat: Flat) -> None:
        self.first = torch.zeros_like(flat.weights)
        self.second = torch.zeros_like(flat.weights)
        self.count = torch.zeros((), device=flat.weights.device)
        size = PIECE.get(flat.weights.device.type, sys.maxsize)
        vectors = (flat.weights, flat.gradients, self.first, self.second)
        self._pieces = [list(torch.split(vector, size)) for vector in vectors]

    @torch.no_grad()
    def step(self, rate: Tensor) -> None:
        """Change the weights by their gradients; the rate is a scalar on the weights' device."""
        self.count += 1
        weights, gradients, first, second = self._pieces
        torch._fused_adamw_(
            weights,
            gradients,
            first,
            second,
            [],
            [self.count] * len(weights),
            lr=rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=WEIGHT_DECAY,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
