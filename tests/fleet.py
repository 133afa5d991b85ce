"""Machines of which each is of its own kind, and an artifact that calibrates for others, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from vaewatch.training.train import train

ALPHA, START, W = 0.1, 1_767_225_600, 8
SETTINGS = {"alpha": ALPHA, "time": "ts", "entity": "machine", "window": W, "report": False}
SHORT = ("--window", str(W), "--alpha", str(ALPHA), "--steps", "60", "--no-report")
FITTED, OTHERS = range(30), range(500, 530)


def fleet(machines: range, n: int, seed: int, first: int = 0) -> pl.DataFrame:
    """n records of machines of which each has a level, a swing and a period of its own."""
    frames = []
    for machine in machines:
        own = np.random.default_rng([7, machine])
        level, swing, period = own.normal(), own.uniform(0.5, 2), own.uniform(6, 20)
        noise = 0.1 * np.random.default_rng([seed, machine]).normal(size=(2, n))
        time = first + np.arange(n)
        wave = swing * np.sin(2 * np.pi * time / period + own.uniform(0, 6))
        columns = {"ts": START + 60 * time, "machine": [f"m{machine}"] * n}
        columns |= {"a": level + wave + noise[0], "b": 2 * level - wave + noise[1]}
        frames.append(pl.DataFrame(columns))
    return pl.concat(frames)


def later(n: int = 60, seed: int = 1, first: int = 300) -> pl.DataFrame:
    """Records of the machines of the fit and of as many others, those of one moment together."""
    frames = [fleet(machines, n, seed, first) for machines in (FITTED, OTHERS)]
    return pl.concat(frames).sort("ts", "machine")


def is_new(frame: pl.DataFrame) -> np.ndarray:
    """(N,) which records are of machines that the fit never saw."""
    return frame["machine"].str.slice(1).cast(pl.Int64).is_in(list(OTHERS)).to_numpy()


def trained_fleet(out: Path, **settings: Any) -> Path:
    """Fit to the machines of the fit; by default others have a calibration of their own."""
    given = {**SETTINGS, "calibrate": "entities", "steps": 60, **settings}
    train(fleet(FITTED, 150, seed=0), out, **given)
    return out
