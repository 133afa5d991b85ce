"""Machines and an artifact of their windows, which the tests of windows in batch share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

WINDOW = 8
STEP = 10  # seconds
START = 1_767_225_600
SMALL = {"steps": 60, "width": 16, "members": 4, "served": 2}


def make_machines(
    n: int = 400, machines: int = 3, seed: int = 0, first: int = 0, start: int = START
) -> pl.DataFrame:
    """n records of each machine, one machine after the other, in order of time."""
    rng, frames = np.random.default_rng(seed), []
    for m in range(first, first + machines):
        t = np.arange(n)
        wave = np.sin(t / 7 + m) + 0.1 * rng.normal(size=n)
        frames.append(
            pl.DataFrame(
                {
                    "ts": start + STEP * t,
                    "machine": [f"m{m}"] * n,
                    "pressure": np.round(wave, 4),
                    "flow": np.round(np.roll(wave, 3) * 2 + 0.1 * rng.normal(size=n), 4),
                    "mode": np.where(np.sin(t / 40) > 0, "a", "b"),
                }
            )
        )
    return pl.concat(frames)


def by_time(frame: pl.DataFrame) -> pl.DataFrame:
    """The same records, those of one moment together."""
    return frame.sort("ts", "machine")


def added(path: Path) -> pl.DataFrame:
    """What scoring added to a CSV file."""
    return pl.read_csv(path, schema_overrides={"top_reasons": pl.String, "history": pl.String})
