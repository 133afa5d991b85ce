"""features -> fitted VAE: the training loop.

Each record belongs to one of M folds and member k never sees folds k and k + 1, so that every
record is out of bag in two members: honest scores for calibration without giving up a part of the
data (see `training.out_of_bag`). Everything in the loop happens on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import TrainConfig
from training.elbo import Elbo, autoencoder_loss, elbo
from training.noise import noise_deviations
from training.vae import VAE

WARM_UP = 50
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 1e-4
GRADIENT_NORM = 20.0
LOG_EVERY = 20
MAX_LATENT = 256


@dataclass(frozen=True)
class Step:
    """One line of the training log: means over members, in nats per record."""

    step: int
    reconstruction_nll: float
    kl: float


@dataclass(frozen=True)
class Fitted:
    """A fitted stack, the fold of each fit record, and the log."""

    vae: VAE
    folds: NDArray[np.int64]
    log: tuple[Step, ...]


OnStep = Callable[[int, int], None]


def fit_vae(
    x: NDArray[np.float32], config: TrainConfig, on_step: OnStep = lambda done, all: None
) -> Fitted:
    """Fit the stack to (N, D) features."""
    device = pick_device(config.device)
    rng = np.random.default_rng(config.seed)
    folds = rng.permutation(len(x)) % config.members
    generator = torch.Generator().manual_seed(config.seed)
    vae = VAE(
        members=config.members,
        features=x.shape[1],
        latent=config.latent or default_latent(x.shape[1]),
        width=config.width,
        generator=generator,
    ).to(device)
    log = _train(vae, _Data.of(x, folds, config.members, device), config, on_step)
    return Fitted(vae, folds, log)


def default_latent(features: int) -> int:
    return min(MAX_LATENT, max(2, round(features / 2)))


def default_steps(n: int) -> int:
    """Optimiser steps for n records: small data overfits with more."""
    return 800


def pick_device(name: str) -> torch.device:
    """'auto' is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(
            "--device cuda needs a CUDA GPU and a build of torch for it; there is none here."
        )
    return torch.device(name)


@dataclass(frozen=True)
class _Data:
    """x: (N, D). seen: (M, N_k) indices of the records that each member may see. noise: (D,)."""

    x: Tensor
    seen: Tensor
    noise: Tensor

    @classmethod
    def of(
        cls, x: NDArray[np.float32], folds: NDArray[np.int64], members: int, device: torch.device
    ) -> _Data:
        seen = [
            np.flatnonzero((folds != k) & (folds != (k + 1) % members)) for k in range(members)
        ]
        most = max(len(indices) for indices in seen)
        even = np.stack(
            [np.resize(indices, most) for indices in seen]
        )  # folds differ by one record
        noise = noise_deviations(x)
        return cls(*(torch.from_numpy(array).to(device) for array in (x, even, noise)))

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """A batch for each member, with replacement: (M, B, D)."""
        members, n = self.seen.shape
        at = torch.randint(n, (members, batch), generator=generator, device=self.x.device)
        return self.x[self.seen.gather(1, at)]


def _train(vae: VAE, data: _Data, config: TrainConfig, on_step: OnStep) -> tuple[Step, ...]:
    device = data.x.device
    generator = torch.Generator(device).manual_seed(config.seed)
    steps = config.steps or default_steps(len(data.x))
    optimiser = torch.optim.AdamW(
        vae.parameters(),
        lr=config.learning_rate,
        betas=BETAS,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warm_cosine(step, steps))
    most = GRADIENT_NORM * math.sqrt(config.members)
    log = []

    for step in range(steps):
        x = data.draw(config.batch, generator)
        noisy = x + data.noise * torch.randn(x.shape, generator=generator, device=device)
        terms = _objective(vae, x, noisy, config, generator)

        optimiser.zero_grad()
        terms.loss(config.beta).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.parameters(), most)
        optimiser.step()
        schedule.step()

        if step % LOG_EVERY == 0 or step == steps - 1:
            nll, kl = terms.reconstruction_nll.mean().item(), terms.kl.mean().item()
            log.append(Step(step, nll, kl))
            on_step(step + 1, steps)
    return tuple(log)


def _objective(
    vae: VAE, x: Tensor, noisy: Tensor, config: TrainConfig, generator: torch.Generator
) -> Elbo:
    if config.model == "ae":
        return autoencoder_loss(vae, x, noisy)
    shape = (vae.members, x.shape[1], vae.latent)
    return elbo(vae, x, noisy, torch.randn(shape, generator=generator, device=x.device))


def warm_cosine(step: int, steps: int) -> float:
    """The learning rate's factor: a linear warm-up, then half a cosine to 0."""
    warm = min((step + 1) / min(WARM_UP, steps), 1.0)
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
