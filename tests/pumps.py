"""Pumps that report every ten seconds, and a small artifact of their windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.conftest import SMALL, shared
from vaewatch.training.train import train

W = 8
Records = list[dict[str, Any]]


def pumps(steps: int, seed: int = 0, machines: int = 3, first: int = 0) -> pl.DataFrame:
    """Machines that report every ten seconds, one after the other at each step."""
    rng = np.random.default_rng(seed)
    parts = []
    for machine in range(machines):
        at = np.arange(first, first + steps)
        pressure = np.sin(at / 7 + machine) + 0.1 * rng.normal(size=steps)
        part = pl.DataFrame(
            {
                "ts": pl.Series(1_767_225_600 + 10 * at),
                "machine": [f"m{machine}"] * steps,
                "pressure": pressure,
                "flow": 2 * np.cos(at / 7 + machine) + 0.1 * rng.normal(size=steps),
                "mode": np.where(np.sin(at / 40) > 0, "a", "b"),
            }
        )
        parts.append(part)
    return (
        pl.concat(parts)
        .sort("ts", "machine")
        .with_columns(pl.from_epoch("ts").dt.strftime("%Y-%m-%dT%H:%M:%S"))
    )


def trained(
    folder: Path,
    seed: int = 0,
    frame: pl.DataFrame | None = None,
    name: str = "",
    **settings: Any,
) -> Path:
    out = folder / (name or f"artifact-{seed}")
    given = {**SMALL, "time": "ts", "entity": "machine", "window": W, "alpha": 0.05, **settings}
    frame = pumps(500, seed=seed) if frame is None else frame
    train(frame, out, report=False, seed=seed, **given)
    return out


def shared_pumps(factory: pytest.TempPathFactory) -> Path:
    """That artifact, made once for all tests."""
    return shared(factory, "artifact-0", lambda out: trained(out.parent, name=out.name))


def changed(steps: int) -> Records:
    """A pump whose pressure is another one for good, and which breaks in the end."""
    rows = pumps(steps, seed=3, machines=1, first=700).to_dicts()
    for row in rows[20:]:
        row["pressure"] += 4.0
    for row in rows[-2:]:
        row["pressure"] += 40.0
    return rows
