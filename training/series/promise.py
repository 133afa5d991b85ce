"""What a budget of windows is worth, as far as it takes a law that only training knows."""

from __future__ import annotations

SIDE = 0.975  # of an interval at 95%


def incidents_interval(count: int, days: float) -> tuple[float, float]:
    """Return the 95% interval of the incidents a day, of so many among so many days (Garwood,
    1936). Incidents are apart by definition, so that they are taken to be a Poisson process.
    """
    from scipy.special import gammaincinv

    low = float(gammaincinv(count, 0.025)) if count else 0.0
    return low / days, float(gammaincinv(count + 1, SIDE)) / days
