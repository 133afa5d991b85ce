"""numbers of a column -> whether 0 is a value of its own among them.

Where many numbers are 0 and the others are any, 0 says that there is nothing: no rain, nothing
paid, a call that was not answered. Such a column is a mixture of "nothing" and amounts, as counts
with too many zeros are (Lambert, "Zero-inflated Poisson regression", Technometrics 34, 1992), and
what goes with nothing is another thing than what goes with little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.training.unseen.levels import ENOUGH, LEAST_OF_LEVEL
from vaewatch.training.unseen.order import starts

LEAST = 0.05  # of the numbers


def has_zero(given: NDArray[np.float64]) -> bool:
    """Return whether 0 is a value of its own among (n,) values in the order of their records."""
    zero = given == 0.0
    if len(given) < ENOUGH or not LEAST <= np.mean(zero) < 1.0:
        return False
    return min(len(starts(half)) for half in np.array_split(zero, 2)) >= LEAST_OF_LEVEL
