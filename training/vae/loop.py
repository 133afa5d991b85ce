"""batches -> steps: the optimiser, with everything that a step needs on the device.

On a GPU, one step is captured as a CUDA graph and replayed. The learning rate and the step's
number are tensors there, and only the log is read back.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adamw import adamw

from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.checkpoint import Snapshot
from vaewatch.training.vae.elbo import Elbo, autoencoder_loss, elbo
from vaewatch.training.vae.flat import Flat
from vaewatch.training.vae.noise import noise_deviations
from vaewatch.training.vae.parallel import average, of_each, rank, world_size
from vaewatch.training.vae.vae import VAE

WARM_UP = 50
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 1e-4
EPSILON = 1e-8
GRADIENT_NORM = 20.0
STEPS_BEFORE_CAPTURE = 3  # as PyTorch recommends
DRAWS = 2**62  # numbers to draw from: so many that the remainder of any count is uniform


@dataclass(frozen=True)
class Batches:
    """The records that batches are drawn from: on the device or, if they do not fit, on the host,
    from which each batch is sent.

    x: (N, D). seen: (M, most) indices of the records that each member may see, of which the first
    `counts`, (M, 1), count. noise: (D,) standard deviations of the encoder's noise, always on the
    device.
    """

    x: Tensor
    seen: Tensor
    counts: Tensor
    noise: Tensor

    @classmethod
    def of(
        cls,
        x: NDArray[np.float32],
        seen: Sequence[NDArray[np.int64]],
        device: torch.device,
        room: int | None = None,
    ) -> Batches:
        """Place the records; `room` is the bytes that they may take on the device."""
        counts = torch.tensor([[len(indices)] for indices in seen])
        even = np.stack([np.resize(indices, int(counts.max())) for indices in seen])
        room = free_room(device) if room is None else room
        home = device if x.nbytes + even.nbytes <= room else torch.device("cpu")
        noise = torch.from_numpy(noise_deviations(x)).to(device)
        records, places = torch.from_numpy(x), torch.from_numpy(even)
        return cls(records.to(home), places.to(home), counts.to(home), noise)

    @property
    def device(self) -> torch.device:
        """The device that batches are used on."""
        return self.noise.device

    @property
    def resident(self) -> bool:
        return self.x.device == self.noise.device

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw a batch for each member, with replacement, (M, B, D); the generator must be on the
        device of the records.
        """
        members = len(self.seen)
        draws = torch.randint(DRAWS, (members, batch), generator=generator, device=self.x.device)
        at = draws % self.counts
        rows = self.seen.gather(1, at).flatten()
        records = self.x.index_select(0, rows).view(members, batch, -1)
        if self.resident:
            return records
        # from pinned memory, the copy overlaps with the steps that are still queued
        return records.pin_memory().to(self.device, non_blocking=True)


def free_room(device: torch.device) -> int:
    """Return the bytes that the data may take: half of a GPU's free memory, to leave room for
    steps.
    """
    if device.type != "cuda":
        return sys.maxsize
    return int(torch.cuda.mem_get_info(device)[0]) // 2


class Loop:
    """A training run: it takes steps, and can be stopped and continued after any of them."""

    def __init__(self, vae: VAE, batches: Batches, config: TrainConfig) -> None:
        device = batches.device
        self.vae, self.batches, self.config, self.steps = vae, batches, config, config.steps
        self.done = 0
        self.batch = max(1, config.batch // world_size())
        self.generator = torch.Generator(device).manual_seed(config.seed + rank())
        self.draws = self.generator  # of batches
        if not batches.resident:
            self.draws = torch.Generator().manual_seed(config.seed + rank())
        self.rates = torch.tensor(
            [config.learning_rate * warm_cosine(step, self.steps) for step in range(self.steps)],
            device=device,
        )
        self.at = torch.zeros(1, dtype=torch.long, device=device)
        self.rate = torch.zeros((), device=device)
        self.flat = Flat.of(vae)
        self.first = torch.zeros_like(self.flat.weights)  # AdamW's moments
        self.second = torch.zeros_like(self.flat.weights)
        self.count = torch.zeros((), device=device)
        self.terms: Elbo | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = 0  # eager steps of this process: a run that goes on has warmed nothing yet

    def step(self) -> None:
        """Take one step; a run of one process on a GPU replays the step that was captured."""
        alone = world_size() == 1 and self.batches.resident
        capture = self.batches.device.type == "cuda" and alone
        if capture and self._graph is None and self._warm >= STEPS_BEFORE_CAPTURE:
            self._graph = self._capture()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._step()
            self._warm += 1
        self.done += 1

    def _step(self) -> None:
        x = self.batches.draw(self.batch, self.draws)
        noise = torch.randn(x.shape, generator=self.generator, device=x.device)
        self.terms = self._objective(x, torch.addcmul(x, self.batches.noise, noise))

        self.flat.gradients.zero_()
        self.terms.loss(self.config.beta).backward()  # type: ignore[no-untyped-call]
        average(self.flat.gradients)
        clip_(self.flat.gradients, GRADIENT_NORM * math.sqrt(self.config.members))
        self.rate.copy_(self.rates[self.at].squeeze())
        self._update()
        self.at += 1

    @torch.no_grad()
    def _update(self) -> None:
        """Take one step of AdamW (Loshchilov & Hutter, 2019), by PyTorch's function: its class
        would import PyTorch's compiler, which takes seconds and is not used here.
        """
        adamw(
            [self.flat.weights],
            [self.flat.gradients],
            [self.first],
            [self.second],
            [],
            [self.count],
            fused=True,
            capturable=self.rate.device.type == "cuda",
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.rate,
            weight_decay=WEIGHT_DECAY,
            eps=EPSILON,
            maximize=False,
        )

    def _objective(self, x: Tensor, noisy: Tensor) -> Elbo:
        if self.config.model == "ae":
            return autoencoder_loss(self.vae, x, noisy)
        shape = (self.vae.members, x.shape[1], self.vae.latent)
        eps = torch.randn(shape, generator=self.generator, device=x.device)
        return elbo(self.vae, x, noisy, eps)

    def _capture(self) -> torch.cuda.CUDAGraph:
        # their autograd graph has nodes of the default stream, which cannot be captured
        self.terms = None
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            self._step()
        return graph

    def snapshot(self, log: list[Any]) -> Snapshot:
        """Return all that the next step depends on, and the log so far.

        Every process of a run must call this: each draws batches and noise of its own.
        """
        device = self.batches.device
        tensors = {
            **self._optimised(),
            "generator": of_each(self.generator.get_state(), device),
            "draws": of_each(self.draws.get_state(), device),
        }
        return Snapshot(self.done, {name: t.detach().clone() for name, t in tensors.items()}, log)

    def _optimised(self) -> dict[str, Tensor]:
        return {
            "weights": self.flat.weights,
            "first": self.first,
            "second": self.second,
            "count": self.count,
            "at": self.at,
        }

    def go_on_from(self, snapshot: Snapshot) -> None:
        """Continue as if the run had never stopped."""
        for name, tensor in self._optimised().items():
            tensor.copy_(snapshot.tensors[name])
        self.generator.set_state(_own(snapshot.tensors["generator"]))
        self.draws.set_state(_own(snapshot.tensors["draws"]))
        self.done = snapshot.step


def _own(states: Tensor) -> Tensor:
    """Return this process's row of (processes, S) generator states.

    As a copy: PyTorch reads a state from the start of its storage, and wants it aligned.
    """
    return states[rank()].cpu().clone()


def clip_(gradients: Tensor, most: float) -> None:
    """Scale (P,) gradients in place, down to a norm of at most `most`."""
    gradients *= (most / (gradients.norm() + 1e-6)).clamp(max=1.0)


def warm_cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate: a linear warm-up, then half a cosine to 0."""
    warm = min((step + 1) / min(WARM_UP, steps), 1.0)
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
