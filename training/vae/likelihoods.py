"""reconstruction -> log p(x|z).

Every feature has a Gaussian likelihood, also the indicators of categories, booleans and missing
values. The mean of an indicator given z is the probability of its event, so its squared error is
the Brier score, and dividing by the event's variance gives more weight to the error of a rare
event. A softmax head for each categorical column was worse on NSL-KDD (see
`benchmarks/RESULTS.md`). The likelihood of unseen values takes no network: see
`vaewatch.scoring.features.vectorizer`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SIGMA_FLOOR = 0.05  # of a feature's deviation; else a constant feature would take over the loss
LOG_SIGMA_FLOOR = math.log(SIGMA_FLOOR)
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussian:
    """p(x|z) = N(mean, diag sigma^2): mean is (M, B, D), log_sigma (M, 1, D)."""

    mean: Tensor
    log_sigma: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """(M, B, D) -> (M, B): log p(x|z) in nats, summed over the features."""
        log_sigma = self.log_sigma.clamp(min=LOG_SIGMA_FLOOR)
        standardised = (x - self.mean) * torch.exp(-log_sigma)
        return -0.5 * standardised.square().sum(-1) - (log_sigma + HALF_LOG_2PI).sum(-1)

    def sample(self, eps: Tensor) -> Tensor:
        """Return x = mean + sigma * eps, (M, B, D), for eps from N(0, I)."""
        return self.mean + self.log_sigma.clamp(min=LOG_SIGMA_FLOOR).exp() * eps
