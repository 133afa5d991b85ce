"""How many threads a fit computes on.

One, unless more are asked for. Its products are small, and the threads of OpenMP and OpenBLAS wait
for one another by spinning: beside a busy program on two cores, two threads took thirty times as
long as one (see `benchmarks/RESULTS.md`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def computing_on(threads: int) -> Iterator[None]:
    """Compute on so many threads for the length of a block: NumPy, SciPy, scikit-learn, and torch
    where it is imported already.
    """
    # torch remembers first and mends last: what its MKL computes on, no one else can set back
    with _torch_on(threads), threadpool_limits(threads):
        yield


@contextmanager
def _torch_on(threads: int) -> Iterator[None]:
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
