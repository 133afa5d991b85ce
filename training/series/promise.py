"""incidents among so many days -> the range of what is to be expected a day."""

from __future__ import annotations


def incidents_interval(count: int, days: float) -> tuple[float, float]:
    """Return the 95 % interval of the incidents a day, of so many among so many days (Garwood,
    1936). Incidents are apart by definition, so that they are taken to be a Poisson process.
    """
    from scipy.special import gammaincinv

    low = float(gammaincinv(count, 0.025)) if count else 0.0
    return low / days, float(gammaincinv(count + 1, 0.975)) / days
