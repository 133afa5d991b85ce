"""fit records, members -> Batches: random records for each member, on the device that needs them.

They are drawn where the records are: on the device or, if they do not fit there, on the host.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaewatch.training.vae.noise import noise_deviations

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
        noise: NDArray[np.float32] | None = None,
        room: int | None = None,
    ) -> Batches:
        """Place the records; `room` is the bytes that they may take on the device."""
        noise = noise_deviations(x) if noise is None else noise
        counts = torch.tensor([[len(indices)] for indices in seen])
        even = np.stack([np.resize(indices, max(map(len, seen))) for indices in seen])
        room = free_room(device) if room is None else room
        home = device if x.nbytes + even.nbytes <= room else torch.device("cpu")
        records, places = torch.from_numpy(x), torch.from_numpy(even)
        deviations = torch.from_numpy(noise).to(device)
        return cls(records.to(home), places.to(home), counts.to(home), deviations)

    @property
    def device(self) -> torch.device:
        """The device that batches are used on."""
        return self.noise.device

    @property
    def resident(self) -> bool:
        return self.x.device == self.noise.device

    def draw(self, batch: int, generator: torch.Generator) -> Tensor:
        """Draw a batch for each member, with replacement, (M, B, D), where the records are; the
        generator must be there, too.
        """
        members = len(self.seen)
        draws = torch.randint(DRAWS, (members, batch), generator=generator, device=self.x.device)
        rows = self.seen.gather(1, draws % self.counts).flatten()
        return self.x.index_select(0, rows).view(members, batch, -1)

    def send(self, to: Tensor, generator: torch.Generator) -> None:
        """Draw a batch on the host and write it to a tensor on the device, (M, B, D)."""
        # from pinned memory, the copy overlaps with the steps that are still queued
        to.copy_(self.draw(to.shape[1], generator).pin_memory(), non_blocking=True)


def free_room(device: torch.device) -> int:
    """Return the bytes that the data may take: half of a GPU's free memory, to leave room for
    steps.
    """
    if device.type != "cuda":
        return sys.maxsize
    return int(torch.cuda.mem_get_info(device)[0]) // 2
