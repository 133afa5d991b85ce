"""The law of conformal calibration -> how closely n records hold alpha, as a table."""

from __future__ import annotations

from _ext.markdown import table
from vaewatch.scoring.budget.calibration import RateLaw, records_needed

ALPHAS = (0.1, 0.05, 0.01, 0.001, 0.0001)
SIZES = (100, 1_000, 10_000, 100_000)


def calibration_table() -> str:
    """The 95% range of the true false-alarm rate, by alpha and calibration records."""
    head = ("alpha", "least n", *(f"n = {n:,}" for n in SIZES))
    rows = (
        (f"{alpha:g}", f"{records_needed(alpha):,}", *(_range(alpha, n) for n in SIZES))
        for alpha in ALPHAS
    )
    return table(head, rows)


def _range(alpha: float, n: int) -> str:
    if n < records_needed(alpha):
        return "refused"
    low, high = RateLaw.of(alpha, n).interval()
    return f"{low:.2g} to {high:.2g}"
