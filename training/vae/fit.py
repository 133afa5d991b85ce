"""features -> fitted VAE: the training run.

Each record belongs to one of M folds and member k never sees folds k and k + 1, so that every
record is out of bag in two members: honest scores for calibration without giving up a part of the
data (see
`vaewatch.training.calibration.out_of_bag`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.checkpoint import EVERY_STEPS, Checkpoint
from vaewatch.training.vae.elbo import Elbo
from vaewatch.training.vae.loop import Batches, Loop
from vaewatch.training.vae.parallel import rank, world_size
from vaewatch.training.vae.probe import Probe, Probed
from vaewatch.training.vae.vae import VAE

LOG_EVERY = 20
MAX_LATENT = 256


@dataclass(frozen=True)
class Step(Probed):
    """One line of the training log: means over members, in nats per record, of the batch that the
    step was taken on and of the probe.
    """

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
    x: NDArray[np.float32],
    config: TrainConfig,
    on_step: OnStep = lambda done, all: None,
    checkpoint: Checkpoint | None = None,
) -> Fitted:
    """Fit the stack to (N, D) features."""
    device = pick_device(config.device)
    folds = np.random.default_rng(config.seed).permutation(len(x)) % config.members
    vae = VAE(
        members=config.members,
        features=x.shape[1],
        latent=config.latent or default_latent(x.shape[1]),
        width=config.width,
        generator=torch.Generator().manual_seed(config.seed),
    ).to(device)
    batches = Batches.of(x, folds, config.members, device)
    loop = Loop(vae, batches, config)
    probe = Probe.of(x, folds, batches.noise, vae, config)
    log = _run(loop, probe, on_step, checkpoint)
    return Fitted(vae.cpu(), folds, log)


def default_latent(features: int) -> int:
    return min(MAX_LATENT, max(2, round(features / 2)))


def pick_device(name: str) -> torch.device:
    """'auto' is the GPU where there is one; under torchrun, each process has its own.

    Raises:
        RuntimeError: CUDA is asked for and not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith("cuda"):
        return torch.device(name)
    if not torch.cuda.is_available():
        raise RuntimeError("--device cuda needs a GPU and a build of torch for it; none is here.")
    torch.set_float32_matmul_precision("high")  # TF32 products; weights stay in float32
    return torch.device(f"cuda:{rank()}" if world_size() > 1 and name == "cuda" else name)


def _run(
    loop: Loop, probe: Probe, on_step: OnStep, checkpoint: Checkpoint | None
) -> tuple[Step, ...]:
    log: list[Step] = []
    state = checkpoint.load(loop.at.device) if checkpoint else None
    if state:
        loop.go_on_from(state)
        log = [Step(*line) for line in state.log]
    while loop.done < loop.steps:
        loop.step()
        last = loop.done == loop.steps
        if loop.terms and (loop.done % LOG_EVERY == 0 or loop.done == 1 or last):
            log.append(_line(loop.terms, probe.look(loop.vae), loop.done))
            on_step(loop.done, loop.steps)
        if checkpoint and rank() == 0 and loop.done % EVERY_STEPS == 0 and not last:
            checkpoint.save(loop.state([astuple(line) for line in log]))
    return tuple(log)


def _line(terms: Elbo, probed: Probed, step: int) -> Step:
    nll, kl = terms.reconstruction_nll.mean().item(), terms.kl.mean().item()
    return Step(**asdict(probed), step=step, reconstruction_nll=nll, kl=kl)
