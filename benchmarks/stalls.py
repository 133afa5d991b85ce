"""a core -> how long it stalls: a tail that every server on it has.

    taskset -c 0 python -m benchmarks.stalls --seconds 2

A loop looks at the clock and does nothing else. Where two looks are far apart, something else had
the core: another program, the kernel, or the machine that this one is a guest of. Who comes at a
random moment waits to the end of the gap that he meets.
"""

from __future__ import annotations

import argparse
import gc
import json
from time import perf_counter

LEAST = 5e-6  # seconds between two looks that were not one after the other


def gaps(seconds: float) -> tuple[list[float], float]:
    """The gaps between iterations of a busy loop, and the seconds that it ran."""
    found: list[float] = []
    start = last = perf_counter()
    while last < start + seconds:
        now = perf_counter()
        if now - last > LEAST:
            found.append(now - last)
        last = now
    return found, last - start


def wait(found: list[float], seconds: float, share: float) -> float:
    """Return a percentile of the wait of requests that arrive at random moments."""
    low, high = 0.0, max(found, default=0.0)
    if sum(found) / seconds <= 1 - share / 100:
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        longer = sum(max(0.0, gap - middle) for gap in found) / seconds
        low, high = (middle, high) if longer > 1 - share / 100 else (low, middle)
    return high


def report(seconds: float) -> dict[str, float]:
    """Milliseconds."""
    gc.disable()
    found, looked = gaps(seconds)
    out = {f"p{share:g}": 1000 * wait(found, looked, share) for share in (99, 99.9)}
    return out | {"longest": 1000 * max(found, default=0.0), "share": sum(found) / looked}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    print(json.dumps(report(parser.parse_args().seconds)))


if __name__ == "__main__":
    main()
