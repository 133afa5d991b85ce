"""broken rules between columns -> the columns that they are put down to, marked as unseen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def mark(
    unseen: NDArray[np.bool_],
    broken: NDArray[np.bool_],
    members: NDArray[np.bool_],
    first: NDArray[np.int64],
    kept: Callable[[NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> bool:
    """Mark columns that explain the broken rules of N records, in place; return whether any rule
    is broken.

    Args:
        unseen: (N, C).
        broken, members, first: see `put_down`.
        kept: records -> which rules they keep, (n, R); None where that says nothing.
    """
    if not np.count_nonzero(broken):
        return False
    rows = np.flatnonzero(broken.any(1))
    some = broken[rows]
    own = np.zeros_like(some) if kept is None else kept(rows)
    unseen[rows] |= put_down(some, own, members, first)
    return True


def put_down(
    broken: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    members: NDArray[np.bool_],
    first: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return the columns that explain the broken rules of N records, (N, C), as few as can be: one
    after the other that of most broken and fewest kept rules.

    Args:
        broken, kept: (N, R) of R rules.
        members: (R, C) the columns of each rule. first: (R,) the one where several would do.
    """
    own = members.astype(np.float64)
    against = kept @ own
    own[np.arange(len(own)), first] += 0.5 / len(own)
    left, out = broken.copy(), np.zeros((len(broken), own.shape[1]), bool)
    while np.count_nonzero(left):
        votes = left @ own
        column = np.where(votes > 0, votes - against, -np.inf).argmax(1)
        rows = np.flatnonzero(left.any(1))
        out[rows, column[rows]] = True
        left &= ~members[:, column].T
    return out
