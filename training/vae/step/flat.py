"""network -> Flat: one vector of weights and one of gradients, of which its parameters are views.

A step then takes one norm, one update and one message between processes, instead of one for each
parameter. In networks as small as these, those calls took a sixth of a step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Flat:
    """The weights and the gradients of all parameters, one after the other: (P,) each."""

    weights: Tensor
    gradients: Tensor

    @classmethod
    def of(cls, network: nn.Module) -> Flat:
        """Move the network's parameters into the vectors; they keep names, shapes and values."""
        parameters = list(network.parameters())
        weights = torch.cat([parameter.detach().flatten() for parameter in parameters])
        gradients = torch.zeros_like(weights)
        sizes = [parameter.numel() for parameter in parameters]
        for parameter, weight, gradient in zip(
            parameters, torch.split(weights, sizes), torch.split(gradients, sizes), strict=True
        ):
            parameter.data = weight.view_as(parameter)
            parameter.grad = gradient.view_as(parameter)
        return cls(weights, gradients)
