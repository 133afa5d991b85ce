"""fit records -> the size of their window: the records after which values come back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.series.history import Arrivals, History
from vaewatch.scoring.series.window import Window

SHORTEST_PERIOD, LONGEST_PERIOD = 8, 128
NO_PERIOD = 64  # records of a window where nothing comes back
PERIOD_RECORDS = 20_000
PERIOD_FEATURES = 20
LEAST_LAG, MOST_LAG = 6, 303
SHARE = 8  # a window is at most an eighth of the longest stretch


def size_of(arrivals: Arrivals, window: Window) -> tuple[int, int | None]:
    """Return how many records suit a window: those after which values come back, if they do."""
    taken = History(window).add(arrivals)
    if not taken.runs:
        return 2, None
    longest = max(taken.runs, key=lambda run: len(run.values)).values
    period = period_of(longest[:PERIOD_RECORDS, :PERIOD_FEATURES])
    wanted = NO_PERIOD if period is None else int(np.clip(period, SHORTEST_PERIOD, LONGEST_PERIOD))
    return max(2, min(wanted, len(longest) // SHARE)), period


def period_of(values: NDArray[np.float32]) -> int | None:
    """(T, D) -> the lag at which the mean autocorrelation of the columns has its highest local
    maximum; None without one from LEAST_LAG to MOST_LAG records.
    """
    x = values.astype(np.float64) - values.mean(0)
    n = len(x)
    spectrum = np.fft.rfft(x, 1 << (2 * n - 1).bit_length(), axis=0)
    products = np.fft.irfft(spectrum * np.conj(spectrum), axis=0)[: min(MOST_LAG + 2, n)]
    alive = products[0] > 1e-12 * n
    if not alive.any() or len(products) < LEAST_LAG:
        return None
    acf = (products[:, alive] / products[0, alive]).mean(1)
    inner = np.arange(4, len(acf) - 1)
    peaks = inner[(acf[inner] > acf[inner - 1]) & (acf[inner] > acf[inner + 1])]
    if not len(peaks):
        return None
    best = int(peaks[acf[peaks].argmax()])
    return best if LEAST_LAG <= best <= MOST_LAG else None
