"""How many threads a fit computes on.

One, unless more are asked for. Its products are small, and the threads of OpenMP and OpenBLAS wait
for one another by spinning: beside a busy program on two cores, two threads took thirty times as
long as one (see `benchmarks/RESULTS.md`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def computing_on(threads: int) -> Iterator[None]:
    """Compute on so many threads for the length of a block: torch, NumPy, SciPy, scikit-learn."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
