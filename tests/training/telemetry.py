"""Small series for tests, and a quick fit of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

QUICK: dict[str, Any] = {"steps": 30, "width": 16, "members": 4, "served": 2}
WORDS = [word for name, value in QUICK.items() for word in (f"--{name}", value)]
TIMED = ["--time", "ts", "--entity", "machine"]


def series(
    n: int = 300, machines: int = 3, seed: int = 0, start: str = "2026-01-01"
) -> pl.DataFrame:
    """Machines whose pressure swings, a record every ten seconds, in order of time."""
    rng, first = np.random.default_rng(seed), datetime.fromisoformat(start)
    times = [first + timedelta(seconds=10 * i) for i in range(n)]
    frames = [
        pl.DataFrame(
            {
                "ts": [time.isoformat() for time in times],
                "machine": [f"m{m}"] * n,
                "pressure": np.sin(np.arange(n) / 2 + m) + 0.1 * rng.normal(size=n),
                "flow": rng.normal(size=n),
            }
        )
        for m in range(machines)
    ]
    return pl.concat(frames).sort("ts", "machine", maintain_order=True)


def shifted(frame: pl.DataFrame, which: pl.Expr, by: timedelta) -> pl.DataFrame:
    """Return the frame with the times of some records moved."""
    moved = (pl.col("ts").str.to_datetime() + by).dt.strftime("%Y-%m-%dT%H:%M:%S")
    return frame.with_columns(pl.when(which).then(moved).otherwise(pl.col("ts")).alias("ts"))
