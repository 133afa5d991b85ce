"""Traffic that moves, and a running service whose clock is set from here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

# the service as the command starts it, but for its clock, which is a file
CLOCKED = """
import sys, time
clock, sys.argv = sys.argv[1], ["vaewatch", *sys.argv[2:]]
time.time = lambda: float(open(clock).read())
from vaewatch.__main__ import main
main()
"""
ALPHA, FIT, STEPS = 0.01, 20_000, 1500
SPAN, DAY, EACH = 600, 86_400, 200  # seconds of a request, of a day; records of a request
FRESH = 6000  # records that show what a recalibration has done
START = 1_800_000_000
ENOUGH = 500  # records of which the largest numbers are taken

Rows = list[dict[str, Any]]
Draw = Callable[
    [np.random.Generator, int, float], pl.DataFrame
]  # of so many records, how far moved


def orders(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
    """Orders of a shop: amounts follow the basket; as they move, everything is dearer."""
    size = rng.normal(size=n) * (1 + 0.3 * moved)
    country = rng.choice(["NL", "DE", "FR", "BE"], n, p=[0.5, 0.3, 0.15, 0.05])
    return pl.DataFrame(
        {
            "amount": np.exp(3.5 + 0.6 * size + 0.15 * rng.normal(size=n) + 0.1 * moved),
            "items": 1 + rng.poisson(np.exp(0.8 + 0.4 * size)),
            "weight": np.exp(0.5 * size + 0.3 * rng.normal(size=n) * (1 + 0.3 * moved)),
            "country": country,
            "express": rng.random(n) < np.where(country == "NL", 0.4, 0.1),
        }
    )


def sensors(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
    """A machine's sensors: six that share two causes; as they move, it wears and they spread."""
    cause = rng.normal(size=(n, 2))
    mix = np.random.default_rng(5).normal(size=(2, 6))
    values = cause @ mix + (0.3 + 0.12 * moved) * rng.normal(size=(n, 6)) + 0.2 * moved
    return pl.DataFrame({f"s{i}": column for i, column in enumerate(values.T)})


def requests(rng: np.random.Generator, n: int, moved: float) -> pl.DataFrame:
    """A web server's log, with heavy tails; as it moves, answers grow and take longer."""
    kind = rng.choice(["page", "image", "search"], n, p=[0.5, 0.4, 0.1])
    sent = np.where(kind == "image", 11.0, 9.0) + (0.8 + 0.15 * moved) * rng.standard_t(6, size=n)
    took = 0.4 * sent + np.where(kind == "search", 2.0, 0.0) + rng.normal(size=n) + 0.3 * moved
    return pl.DataFrame(
        {
            "kind": kind,
            "bytes": np.exp(sent).round(),
            "milliseconds": np.exp(took).round(2),
            "status": rng.choice(["ok", "cached", "missing"], n, p=[0.9, 0.08, 0.02]),
            "hops": rng.poisson(3, n),
        }
    )


TRAFFIC: dict[str, Draw] = {"orders": orders, "sensors": sensors, "requests": requests}


def anomalies(draw: Draw, rng: np.random.Generator, n: int) -> pl.DataFrame:
    """Records whose numbers do not belong together, and are far out in one of them."""
    rows = draw(rng, max(n, ENOUGH), 0.0)
    numeric = [name for name, kind in rows.schema.items() if kind.is_numeric()]
    far = {name: float(rows[name].quantile(0.98) or 0) for name in numeric}
    mixed = rows.with_columns(pl.col(name).shuffle(int(rng.integers(1 << 30))) for name in numeric)
    one = rng.integers(len(numeric), size=len(rows))
    return mixed.with_columns(
        pl.when(pl.Series(one == i))
        .then(far[name] * 2.5 + 2)
        .otherwise(pl.col(name))
        .cast(rows.schema[name])
        .alias(name)
        for i, name in enumerate(numeric)
    ).head(n)


@dataclass
class Service:
    """A running service with a clock that is set from here."""

    url: str
    clock: Path
    client: httpx.Client

    def set_clock(self, seconds: float) -> None:
        draft = self.clock.with_suffix(".draft")
        draft.write_text(str(START + seconds))
        draft.rename(self.clock)

    def post(self, path: str, body: object) -> Any:
        answer = self.client.post(self.url + path, json=body)
        answer.raise_for_status()
        return answer.json()

    def score(self, rows: Rows) -> list[bool]:
        found = self.post("/v1/score", {"records": rows})["results"]
        self.client.get(f"{self.url}/metrics")  # counts what was kept back, at the present time
        return [result["is_anomaly"] for result in found]

    def propose(self, last: str) -> Any:
        return self.post("/v1/recalibrate", {"last": last})

    def apply(self, proposal: Any) -> None:
        self.post(f"/v1/recalibrate/{proposal['id']}/apply", {})


@contextmanager
def serving(artifact: Path) -> Iterator[Service]:
    """Serve a copy of an artifact, at time 0."""
    with tempfile.TemporaryDirectory() as folder:
        copy, clock = shutil.copytree(artifact, Path(folder, "model")), Path(folder, "clock")
        clock.write_text(str(START))
        words = [str(clock), "serve", str(copy), "--port", "0", "--max-records", "20000"]
        process = subprocess.Popen(
            [sys.executable, "-c", CLOCKED, *words],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "VAEWATCH_DRAIN_SECONDS": "0", "VAEWATCH_LOG_LEVEL": "error"},
        )
        assert process.stderr is not None
        try:
            said = next(line for line in process.stderr if line.startswith("listening on "))
            with httpx.Client(timeout=120) as client:
                yield Service(said.split()[-1], clock, client)
        finally:
            process.terminate()
            process.communicate(timeout=60)


@dataclass(frozen=True)
class World:
    """One kind of traffic, its artifact, and the seed of a run."""

    name: str
    draw: Draw
    artifact: Path
    seed: int

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, 7])
