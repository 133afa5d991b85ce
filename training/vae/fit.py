"""features -> fitted VAE: the training run.

Which records each member sees is drawn first (see `vaewatch.training.vae.folds`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaewatch.scoring.errors import SettingError
from vaewatch.training.config import TrainConfig
from vaewatch.training.progress import Progress, Step, silent
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.checkpoint import EVERY_STEPS, Checkpoint
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.loop import Loop
from vaewatch.training.vae.parallel import local_rank, local_world_size, rank
from vaewatch.training.vae.probe import Probe
from vaewatch.training.vae.vae import VAE

LOG_EVERY = 20
MAX_LATENT = 256


@dataclass(frozen=True)
class Fitted:
    """A fitted stack, the folds of the fit records, and the log."""

    vae: VAE
    folds: Folds
    log: tuple[Step, ...]


@dataclass(frozen=True)
class Drawn:
    """What is known of a fit before it begins, where it is not as the features suggest.

    noise: (D,) standard deviations of the noise that the encoder sees.
    """

    folds: Folds | None = None
    noise: NDArray[np.float32] | None = None


def fit_vae(
    x: NDArray[np.float32],
    config: TrainConfig,
    progress: Progress = silent,
    checkpoint: Checkpoint | None = None,
    start: Mapping[str, Tensor] | None = None,
    drawn: Drawn | None = None,
) -> Fitted:
    """Fit the stack to (N, D) standardised features, from the weights of `start` if there are
    any.

    Raises:
        SettingError: the fit diverged.
    """
    device, config = pick_device(config.device), config.suiting(x.shape[1])
    assert config.served is not None
    drawn = drawn or Drawn()
    folds = drawn.folds or Folds.draw(len(x), config.members, config.served, config.seed)
    vae = VAE(
        members=config.members,
        features=x.shape[1],
        latent=config.latent or default_latent(x.shape[1]),
        width=config.width,
        generator=torch.Generator().manual_seed(config.seed),
    )
    if start is not None:
        vae.load_state_dict(start)
    vae = vae.to(device)
    batches = Batches.of(x, folds.seen(), device, drawn.noise)
    loop = Loop(vae, batches, config)
    probe = Probe.of(x, folds, batches.noise, vae, config)
    log = _run(loop, probe, progress, checkpoint)
    return Fitted(vae.cpu(), folds, log)


def default_latent(features: int) -> int:
    return min(MAX_LATENT, max(2, round(features / 2)))


def pick_device(name: str) -> torch.device:
    """Return the device of a setting: 'auto' is the GPU if there is one. Under torchrun, each
    process of a machine has a GPU of its own.

    Raises:
        SettingError: a GPU is asked for that is not here, or there are fewer than processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not name.startswith("cuda"):
        return torch.device(name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name.partition(":")[2] or 0) >= gpus:
        last = f"none after cuda:{gpus - 1}" if gpus else "no GPU"
        raise SettingError(
            f"setting 'device' must be a device of this machine, got '{name}', but torch "
            f"{torch.__version__} finds {last}. Use auto or cpu, or install a torch for your GPU."
        )
    if name == "cuda":
        if gpus < local_world_size():
            raise SettingError(
                f"there must be a GPU for each process of torchrun, got {gpus} for "
                f"{local_world_size()}. Start it with --nproc-per-node {gpus}, or pass "
                "--device cpu."
            )
        name = f"cuda:{local_rank()}"
    torch.set_float32_matmul_precision("high")  # TF32 products; weights stay in float32
    torch.cuda.set_device(name)  # graphs and generators belong to the current device
    return torch.device(name)


def _run(
    loop: Loop, probe: Probe, progress: Progress, checkpoint: Checkpoint | None
) -> tuple[Step, ...]:
    log = _Log(loop, probe)
    snapshot = checkpoint.load(loop.at.device) if checkpoint else None
    if snapshot:
        loop.go_on_from(snapshot)
        log.lines = [Step(*line) for line in snapshot.log]
    while loop.done < loop.steps:
        loop.step()
        last = loop.done == loop.steps
        if loop.done % LOG_EVERY == 0 or loop.done == 1 or last:
            log.note()
            progress("fit", loop.done, loop.steps)
        if loop.done % EVERY_STEPS and not last:
            continue
        _require_finite(loop, checkpoint)
        if checkpoint and not last:
            snapshot = loop.snapshot([astuple(line) for line in log.read()])
            if rank() == 0:
                checkpoint.save(snapshot)
    return tuple(log.read())


def _require_finite(loop: Loop, checkpoint: Checkpoint | None) -> None:
    """Refuse weights that have diverged, which no later step mends, nor a run that goes on."""
    if loop.flat.weights.isfinite().all():
        return
    if checkpoint:
        checkpoint.remove()
    raise SettingError(
        "the fit must converge, but its weights are no longer finite: use a lower learning rate "
        f"than {loop.config.learning_rate:g}. The default is {TrainConfig.learning_rate:g}."
    )


class _Log:
    """The lines of a run. Its figures stay on the device until they are read, since a GPU would
    have to finish its steps for each of them.
    """

    def __init__(self, loop: Loop, probe: Probe) -> None:
        self.loop, self.probe = loop, probe
        self.lines: list[Step] = []
        self._unread: list[tuple[int, Tensor]] = []

    def note(self) -> None:
        """Note the terms of the last step, and what the probe shows now."""
        terms = self.loop.terms()
        means = torch.stack([terms.reconstruction_nll.mean(), terms.kl.mean()]).double()
        figures = torch.cat([self.probe.look(self.loop.vae), means])
        self._unread.append((self.loop.done, figures))

    def read(self) -> list[Step]:
        """Return all lines so far."""
        for step, figures in self._unread:
            *probed, nll, kl = figures.tolist()
            line = [*probed, step, nll, kl]
            self.lines.append(Step(*line))
        self._unread.clear()
        return self.lines
