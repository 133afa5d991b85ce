"""A span of time as people write it: 90s, 5m, 2h, 1d."""

from __future__ import annotations

import re

UNITS = {"us": 1, "ms": 1000, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86_400 * 10**6}
SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|m|h|d)")
LONGEST = 2**53  # microseconds, which numbers of JSON hold exactly


def microseconds(text: str) -> int | None:
    """Return the microseconds of a span; None if it is none above 0."""
    found = SPAN.fullmatch(text.strip())
    if found is None:
        return None
    span = round(float(found[1]) * UNITS[found[2]])
    return span if 0 < span <= LONGEST else None


def span_text(span: int) -> str:
    """Return microseconds as people write them, in the largest unit that takes few digits."""
    units = [unit for unit in ("d", "h", "m", "s", "ms") if span >= UNITS[unit]] or ["us"]
    few = [u for u in units if 10 * span % UNITS[u] == 0 and span < 10_000 * UNITS[u]]
    unit = (few or units)[0]
    return f"{span / UNITS[unit]:.4g}{unit}"
