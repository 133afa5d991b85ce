"""Telemetry of a few machines, as the tests of windows share it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

SIZE = 8
SMALL: dict[str, Any] = {
    "time": "ts",
    "entity": "machine",
    "id": "number",
    "window": SIZE,
    "steps": 60,
    "width": 16,
    "members": 4,
    "served": 2,
    "report": False,
}


def telemetry(n: int = 160, entities: int = 3, seed: int = 0) -> pl.DataFrame:
    """Numbers, a category, a constant, missing values, steps of 10 s and now and then of 30 s."""
    rng = np.random.default_rng(seed)
    parts = []
    for e in range(entities):
        t = np.arange(n)
        seconds = 10 * t + np.cumsum(rng.random(n) < 0.1) * 20
        pressure = np.sin(t / 3 + e) + 0.1 * rng.normal(size=n)
        flow = np.where(rng.random(n) < 0.05, np.nan, np.roll(2 * pressure, 2))
        at = np.datetime64("2026-01-01T00:00:00") + seconds.astype("timedelta64[s]")
        parts.append(
            pl.DataFrame(
                {
                    "ts": np.datetime_as_string(at),
                    "machine": [f"m{e}"] * n,
                    "number": [f"m{e}-{i}" for i in t],
                    "pressure": np.round(pressure, 3),
                    "flow": pl.Series(np.round(flow, 3)).fill_nan(None),
                    "mode": np.where(np.sin(t / 20) > 0, "fast", "slow"),
                    "unit": ["bar"] * n,
                }
            )
        )
    return pl.concat(parts).sort("ts", "machine", maintain_order=True)
