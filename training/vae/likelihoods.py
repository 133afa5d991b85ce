"""reconstruction -> log p(x|z).

Every feature has a Gaussian likelihood, also the indicators of categories, booleans and missing
values. The mean of an indicator given z is the probability of its event, so its squared error is
the Brier score, and dividing by the event's variance weighs a rare event's error up. A softmax
head with a likelihood of its own for each categorical column lost on NSL-KDD: see
`benchmarks/RESULTS.md`. Events that the fit data never had have a likelihood without a network:
`vaewatch.scoring.features.unseen_nats`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIGMA_FLOOR = 0.05  # of a feature's deviation; keeps a constant feature from taking over the loss
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussian:
    """p(x|z) = N(mean, diag sigma^2): mean is (M, B, D), log_sigma (M, 1, D)."""

    mean: Tensor
    log_sigma: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x|z) in nats, summed over the features: (M, B)."""
        log_sigma = self.log_sigma.clamp(min=math.log(SIGMA_FLOOR))
        standardised = (x - self.mean) * torch.exp(-log_sigma)
        return -0.5 * standardised.square().sum(-1) - (log_sigma + HALF_LOG_2PI).sum(-1)

    def sample(self, eps: Tensor) -> Tensor:
        """x = mean + sigma * eps."""
        return self.mean + self.log_sigma.clamp(min=math.log(SIGMA_FLOOR)).exp() * eps
