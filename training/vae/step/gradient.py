"""batch -> gradient of its loss: the way through the stack and back, written out.

Autograd finds the same gradient of `vaewatch.training.vae.elbo`, with which the tests compare this
one. Written out, it takes fewer operations, and the loss itself is computed only where the log
asks for it. The loss is -ELBO as a mean over the B records, summed over members. Below, d_y is its
derivative by y.

    z = mu + sigma eps         d_mu = d_z + beta mu / B
                               d_sigma = d_z eps + beta sigma / B
    sigma = exp(logvar / 2)    d_logvar = (d_sigma sigma - beta / B) / 2
    r = x - mean               d_mean = -r / (s^2 B)
                               d_log_s = 1 - (sum of r^2 over the records) / (s^2 B)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaewatch.training.vae.elbo import Elbo
from vaewatch.training.vae.likelihoods import LOG_SIGMA_FLOOR, Gaussian
from vaewatch.training.vae.step.layers import Affine, Hidden
from vaewatch.training.vae.vae import LOGVAR_RANGE, VAE, Posterior


class Code:
    """h, (M, B, H) -> z, (M, B, L): a draw from q(z|x), whose KL costs beta; or, of a plain
    autoencoder, mu at no cost.
    """

    def __init__(self, vae: VAE, beta: float) -> None:
        self.mu_of, self.logvar_of, self.beta = Affine(vae.mu), Affine(vae.logvar), beta

    def forward(self, h: Tensor, eps: Tensor | None) -> Tensor:
        self.mu, self.eps = self.mu_of.forward(h), eps
        if eps is None:
            return self.mu
        self.raw = self.logvar_of.forward(h)
        self.logvar = self.raw.clamp(*LOGVAR_RANGE)
        self.sigma = torch.exp(0.5 * self.logvar)
        return torch.addcmul(self.mu, self.sigma, eps)

    def backward(self, d: Tensor) -> Tensor:
        if self.eps is None:
            return self.mu_of.backward(d)
        share = self.beta / d.shape[1]
        d_mu = torch.add(d, self.mu, alpha=share)
        d_sigma = torch.addcmul(share * self.sigma, d, self.eps)
        d_logvar = (d_sigma * self.sigma).sub_(share).mul_(0.5)
        d_raw = torch.ops.aten.hardtanh_backward(d_logvar, self.raw, *LOGVAR_RANGE)  # of the clamp
        return self.mu_of.backward(d_mu).add_(self.logvar_of.backward(d_raw))

    def kl(self) -> Tensor:
        """Return the KL of the last batch, (M, B) nats."""
        if self.eps is None:
            return self.mu.new_zeros(self.mu.shape[:2])
        return Posterior(self.mu, self.logvar).kl()


class Errors:
    """h, (M, B, H) -> r, (M, B, D): the errors of the mean of a Gaussian p(x|z)."""

    def __init__(self, vae: VAE) -> None:
        self.mean_of = Affine(vae.leave)
        self.log_sigma, self.d_log_sigma = vae.log_sigma.detach(), vae.log_sigma.grad

    def forward(self, h: Tensor, x: Tensor) -> None:
        self.x, self.mean = x, self.mean_of.forward(h)
        self.log_s = self.log_sigma.clamp(min=LOG_SIGMA_FLOOR)
        self.precision = torch.exp(-2 * self.log_s)
        self.r = x - self.mean

    def backward(self) -> Tensor:
        share = self.precision / self.x.shape[1]
        d_log_s = 1 - share * self.r.square().sum(1, keepdim=True)
        torch.mul(d_log_s, self.log_sigma >= LOG_SIGMA_FLOOR, out=self.d_log_sigma)
        return self.mean_of.backward(self.r * -share)

    def nll(self) -> Tensor:
        """Return -log p(x|z) of the last batch, (M, B) nats."""
        return -Gaussian(self.mean, self.log_s).log_prob(self.x)


class Gradient:
    """Writes the gradients of a stack into the `grad` of its parameters, in place of the last."""

    def __init__(self, vae: VAE, beta: float) -> None:
        self.enter, self.encoder = Hidden(vae.enter), Hidden(vae.encoder)
        self.code = Code(vae, beta)
        self.expand, self.decoder = Hidden(vae.expand), Hidden(vae.decoder)
        self.errors = Errors(vae)

    @torch.no_grad()
    @np.errstate(all="ignore")
    def write(self, x: Tensor, noisy: Tensor, eps: Tensor | None) -> None:
        """Write the gradient of a batch: x, noisy: (M, B, D). eps: (M, B, L) from N(0, I), or None
        for a plain autoencoder.
        """
        h = self.encoder.forward(self.enter.forward(noisy))
        z = self.code.forward(h, eps)
        self.errors.forward(self.decoder.forward(self.expand.forward(z)), x)

        d_z = self.expand.backward(self.decoder.backward(self.errors.backward()))
        d_h = self.code.backward(d_z)
        self.enter.learn(self.encoder.backward(d_h))

    @torch.no_grad()
    def terms(self) -> Elbo:
        """Return the terms of the last batch, as they were before the step changed the weights."""
        return Elbo(self.errors.nll(), self.code.kl())
