"""batches -> steps: a training run, with everything that a step needs on the device.

On a GPU, one step is captured as a CUDA graph and replayed. The learning rate and the step's
number are tensors there, and only the log is read back.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.checkpoint import Snapshot
from vaewatch.training.vae.elbo import Elbo
from vaewatch.training.vae.parallel import average, of_each, rank, world_size
from vaewatch.training.vae.step.adamw import AdamW
from vaewatch.training.vae.step.flat import Flat
from vaewatch.training.vae.step.gradient import Gradient
from vaewatch.training.vae.step.normals import Normals
from vaewatch.training.vae.vae import VAE

WARM_UP = 50
GRADIENT_NORM = 20.0
STEPS_BEFORE_CAPTURE = 3  # as PyTorch recommends


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
        self.normals = Normals(self.generator, config.seed)
        self.sent = torch.empty((vae.members, self.batch, vae.features), device=device)
        self.rates = torch.tensor(
            [config.learning_rate * warm_cosine(step, self.steps) for step in range(self.steps)],
            device=device,
        )
        self.at = torch.zeros(1, dtype=torch.long, device=device)
        self.flat = Flat.of(vae)
        self.gradient = Gradient(vae, config.beta)
        self.optimiser = AdamW(self.flat)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._warm = 0  # eager steps of this process: a run that goes on has warmed nothing yet

    @property
    def captured(self) -> bool:
        """Whether steps replay a graph."""
        return self._graph is not None

    def step(self) -> None:
        """Take one step; a run of one process on a GPU replays the step that was captured."""
        if not self.batches.resident:
            self.batches.send(self.sent, self.draws)
        capture = self.batches.device.type == "cuda" and world_size() == 1
        if capture and self._graph is None and self._warm >= STEPS_BEFORE_CAPTURE:
            self._graph = self._capture()
        if self._graph is not None:
            self._graph.replay()
        else:
            self._step()
            self._warm += 1
        self.done += 1

    def terms(self) -> Elbo:
        """Return the terms of the last step's batch, before the weights changed."""
        return self.gradient.terms()

    def _step(self) -> None:
        resident = self.batches.resident
        x = self.batches.draw(self.batch, self.draws) if resident else self.sent
        noise = self.normals.draw(x.shape)
        self.gradient.write(x, torch.addcmul(x, self.batches.noise, noise), self._eps())
        average(self.flat.gradients)
        clip_(self.flat.gradients, GRADIENT_NORM * math.sqrt(self.config.members))
        self.optimiser.step(self.rates.index_select(0, self.at).squeeze())
        self.at += 1

    def _eps(self) -> Tensor | None:
        """Return (M, B, L) draws from N(0, I); a plain autoencoder takes none."""
        if self.config.model == "ae":
            return None
        return self.normals.draw(torch.Size((self.vae.members, self.batch, self.vae.latent)))

    def _capture(self) -> torch.cuda.CUDAGraph:
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
        kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        return Snapshot(self.done, kept, log, device.type)

    def _optimised(self) -> dict[str, Tensor]:
        return {
            "weights": self.flat.weights,
            "first": self.optimiser.first,
            "second": self.optimiser.second,
            "count": self.optimiser.count,
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
