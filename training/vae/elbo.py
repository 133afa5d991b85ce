"""features -> ELBO: the objective, and a tighter bound that shows what it leaves out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vaewatch.training.vae.vae import VAE


@dataclass(frozen=True)
class Elbo:
    """ELBO = -(reconstruction_nll + kl) <= log p(x); each (M, B), in nats per record."""

    reconstruction_nll: Tensor
    kl: Tensor

    def loss(self, beta: float = 1.0) -> Tensor:
        """Return -ELBO with the KL weighted by beta (Higgins et al., 2017): its mean over records,
        summed over members.
        """
        return (self.reconstruction_nll + beta * self.kl).mean(1).sum()


def elbo(vae: VAE, x: Tensor, noisy: Tensor, eps: Tensor) -> Elbo:
    """Estimate the ELBO of x, (M, B, D), from one sample; eps is (M, B, L) from N(0, I).

    The encoder sees x plus noise, (M, B, D), and the decoder must return x: denoising, which is
    related to score matching (Vincent, 2011).
    """
    posterior = vae.encode(noisy)
    likelihood = vae.decode(posterior.rsample(eps))
    return Elbo(-likelihood.log_prob(x), posterior.kl())


def autoencoder_loss(vae: VAE, x: Tensor, noisy: Tensor) -> Elbo:
    """Return the loss of a plain autoencoder as an Elbo: z = mu, and no KL."""
    posterior = vae.encode(noisy)
    return Elbo(-vae.decode(posterior.mu).log_prob(x), torch.zeros_like(posterior.kl()))


@torch.no_grad()
def log_importance_weights(vae: VAE, x: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Return log p(x, z_k) / q(z_k|x) of K draws, (K, M, B) nats; their mean over K estimates the
    ELBO.
    """
    posterior = vae.encode(x)
    weights = []
    for _ in range(draws):
        eps = torch.randn(posterior.mu.shape, generator=generator, device=generator.device)
        z = posterior.rsample(eps)
        log_prior = -0.5 * z.square().sum(-1)
        log_posterior = -0.5 * (eps.square() + posterior.logvar).sum(-1)
        weights.append(vae.decode(z).log_prob(x) + log_prior - log_posterior)
    return torch.stack(weights)


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    """(K, M, B) -> (M, B) nats: log 1/K sum_k p(x, z_k) / q(z_k|x) (Burda et al., 2016).

    Its expectation rises with K towards log p(x); with K = 1 it is the ELBO.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
