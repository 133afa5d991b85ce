"""times -> the order of records, and blocks of time among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.time.form import DAY, NO_TIME

FEWEST, MOST = 5, 20  # blocks that are held out

Times = NDArray[np.int64]


def ranks(times: Times, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the rank of each of N records by time, (N,): a permutation of 0 ... N - 1.

    Chance decides among records of one instant. One without a time gets the time of another one,
    so that it may be anywhere.
    """
    known = times != NO_TIME
    if known.any() and not known.all():
        times = times.copy()
        times[~known] = rng.choice(times[known], size=int((~known).sum()))
    order = np.lexsort((rng.random(len(times)), times))
    rank = np.empty(len(times), np.int64)
    rank[order] = np.arange(len(times))
    return rank


def held_out_blocks(times: Times, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose `size` of N records in blocks of time that are spread over all of it, (N,).

    The time is cut into as many spans as blocks, and each block lies anywhere in its span. There
    are as many as the records that are held out have days, so that most blocks hold a whole day.
    """
    n = len(times)
    given = times[times != NO_TIME]
    span = (int(given.max()) - int(given.min())) / DAY if len(given) else 0.0
    blocks = min(max(round(span * size / n), FEWEST), MOST, size)
    rank = ranks(times, rng)
    chosen = np.zeros(n, bool)
    for span_of, block in zip(_edges(n, blocks), _edges(size, blocks), strict=True):
        length = block[1] - block[0]
        start = span_of[0] + int(rng.integers(span_of[1] - span_of[0] - length + 1))
        chosen[start : start + length] = True
    return chosen[rank]


def latest(times: Times, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose the `size` latest of N records, (N,); none without a time, while others have one."""
    known = times != NO_TIME
    rank = ranks(times, rng)
    rank = np.where(known, rank + len(times), rank)
    chosen = np.zeros(len(times), bool)
    chosen[np.argsort(rank)[len(times) - size :]] = True
    return chosen


def _edges(n: int, parts: int) -> list[tuple[int, int]]:
    """Cut n into parts that differ by at most one."""
    edges = [n * i // parts for i in range(parts + 1)]
    return list(zip(edges, edges[1:], strict=False))
