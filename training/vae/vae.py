"""features -> posterior -> reconstruction: a stack of M small VAEs, trained side by side.

Notation follows Kingma & Welling (2014): prior p(z) = N(0, I), posterior q(z|x) = N(mu, diag
exp(logvar)), decoder p(x|z). Each layer of all members is one batched product, which keeps a GPU
busy and costs a CPU core little. Shapes: M members, B records, D features, L
latent dimensions, H hidden units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from vaewatch.training.vae.likelihoods import Gaussian
from vaewatch.training.vae.step.product import affine

LOGVAR_RANGE = (-12.0, 4.0)
LOGVAR_START = -3.0
SIGMA_START = 0.5
GAIN_HIDDEN, GAIN_MU, GAIN_LOGVAR, GAIN_OUTPUT = 1.4, 0.5, 0.1, 0.3


class StackedLinear(nn.Module):
    """M linear maps side by side: (M, B, inputs) -> (M, B, outputs)."""

    def __init__(
        self, shape: tuple[int, int, int], gain: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        members, inputs, outputs = shape
        deviation = gain / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.randn(shape, generator=generator) * deviation)
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return affine(x, self.weight, self.bias)


def side_by_side(x: Tensor, *layers: StackedLinear) -> tuple[Tensor, ...]:
    """Apply layers of equal size to one input, (M, B, inputs), as one product."""
    weight = torch.cat([layer.weight for layer in layers], -1)
    bias = torch.cat([layer.bias for layer in layers], -1)
    return affine(x, weight, bias).chunk(len(layers), -1)


@dataclass(frozen=True)
class Posterior:
    """q(z|x): a diagonal normal; mu and logvar are (M, B, L)."""

    mu: Tensor
    logvar: Tensor

    def rsample(self, eps: Tensor) -> Tensor:
        """Return z = mu + sigma * eps, (M, B, L), for eps from N(0, I): the reparameterisation."""
        return self.mu + torch.exp(0.5 * self.logvar) * eps

    def kl(self) -> Tensor:
        """Return KL(q(z|x) || N(0, I)), (M, B) nats."""
        return 0.5 * (self.mu.square() + self.logvar.exp() - self.logvar - 1.0).sum(-1)

    def unit_kl(self) -> Tensor:
        """Return KL(N(mu, I) || N(0, I)), (M, B) nats: the KL of the score. The variances would
        add nothing that separates records (see `benchmarks/RESULTS.md`), and cost a layer.
        """
        return 0.5 * self.mu.square().sum(-1)


class VAE(nn.Module):
    """M encoders D-H-H-(mu, logvar) and M decoders L-H-H-D, with SiLU between the layers, without
    norms or skip connections.
    """

    def __init__(
        self, *, members: int, features: int, latent: int, width: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.members, self.features, self.latent, self.width = members, features, latent, width

        def linear(inputs: int, outputs: int, gain: float) -> StackedLinear:
            return StackedLinear((members, inputs, outputs), gain, generator)

        self.enter = linear(features, width, GAIN_HIDDEN)
        self.encoder = linear(width, width, GAIN_HIDDEN)
        self.mu = linear(width, latent, GAIN_MU)
        self.logvar = linear(width, latent, GAIN_LOGVAR)
        self.expand = linear(latent, width, GAIN_HIDDEN)
        self.decoder = linear(width, width, GAIN_HIDDEN)
        self.leave = linear(width, features, GAIN_OUTPUT)
        nn.init.constant_(self.logvar.bias, LOGVAR_START)
        self.log_sigma = nn.Parameter(torch.full((members, 1, features), math.log(SIGMA_START)))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> VAE:
        """Return the stack with these weights; its sizes are those of the tensors."""
        members, features, width = tensors["enter.weight"].shape
        vae = cls(
            members=members,
            features=features,
            latent=tensors["mu.weight"].shape[2],
            width=width,
            generator=torch.Generator(),
        )
        vae.load_state_dict(tensors)
        return vae

    def only(self, members: list[int]) -> VAE:
        """Return a stack of some of the members."""
        return VAE.of({name: whole[members] for name, whole in self.state_dict().items()})

    def encode(self, x: Tensor) -> Posterior:
        """(M, B, D) -> q(z|x)."""
        h = silu(self.encoder(silu(self.enter(x))))
        mu, logvar = side_by_side(h, self.mu, self.logvar)
        return Posterior(mu, logvar.clamp(*LOGVAR_RANGE))

    def decode(self, z: Tensor) -> Gaussian:
        """(M, B, L) -> p(x|z)."""
        h = silu(self.decoder(silu(self.expand(z))))
        return Gaussian(self.leave(h), self.log_sigma)
