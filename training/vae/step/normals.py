"""shape -> draws from N(0, I): the noise of a step, and that of its codes.

To draw them anew would take a seventh of a step on a CPU. There they are read from a random place
of a table that is drawn once (Salimans et al., arXiv 1703.03864, section 2.1); members read
different numbers. A GPU draws faster than it reads.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vaewatch.training.streams import Stream, stream
from vaewatch.training.vae.parallel import rank

TABLE = 2**21  # numbers, 8 MiB
MOST_READ = TABLE // 4  # numbers at once; more are drawn, so that two reads seldom overlap


class Normals:
    """Draws normal numbers for a fit: which, is up to its generator."""

    def __init__(self, generator: torch.Generator, seed: int) -> None:
        self.generator = generator
        if generator.device.type == "cpu":
            rng = stream(seed + rank(), Stream.NOISE)
            self.table = torch.from_numpy(rng.standard_normal(TABLE, dtype=np.float32))

    def draw(self, shape: torch.Size) -> Tensor:
        """Return numbers in this shape, on the generator's device; they must not be written to."""
        device, count = self.generator.device, shape.numel()
        if device.type != "cpu" or count > MOST_READ:
            return torch.randn(shape, generator=self.generator, device=device)
        place = int(torch.randint(TABLE - count + 1, (), generator=self.generator))
        return self.table[place : place + count].view(shape)
