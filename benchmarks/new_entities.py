"""fleets -> a table: alarms among entities that a fit saw, and among others, by what calibrates.

    python -m benchmarks.new_entities [--sets ENTITIES] [--seeds 3]

Generated fleets: each machine has a level, a swing and a period of its own, drawn from one law, so
that machines are exchangeable. ENTITIES holds a folder a set of real ones, each with train.parquet
and test.parquet; half of a set's entities are fitted to, the other half is scored, and the other
way round. Anomalies of machines are spells at twice the speed; the records after one whose windows
still hold some of it are counted nowhere.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import polars as pl

import vaewatch
from benchmarks.results import write_section
from vaewatch.training.train import train

ALPHA, WINDOW, RECORDS = 0.05, 16, 12_000  # records of a fleet, whatever its size
FLEETS, NEW, LATER = (10, 30, 100), 60, 200  # entities; new ones; records of each that are scored
START, STEP = 1_700_000_000, 60
KINDS = {"alike": (0.5, 0.2), "unlike": (3.0, 0.8)}  # deviations of the level, of the log swing
SPELL = slice(100, 140)
AFTER = -1  # a label that counts as neither


@dataclass(frozen=True)
class Fleet:
    """Machines of one kind, known by their numbers."""

    level: float
    swing: float

    def records(self, machines: range, count: int, seed: int, first: int = 0) -> pl.DataFrame:
        """Return `count` records of each machine."""
        return pl.concat([self._machine(m, count, seed, first) for m in machines])

    def with_spells(self, machines: range, count: int, seed: int, first: int = 0) -> pl.DataFrame:
        """Return the same with a label: in a spell, the values of a machine come twice as fast."""
        return pl.concat([self._machine(m, count, seed, first, spell=True) for m in machines])

    def _machine(
        self, machine: int, count: int, seed: int, first: int, *, spell: bool = False
    ) -> pl.DataFrame:
        own = np.random.default_rng([7, machine])  # its nature, whatever the seed of its records
        level, swing = self.level * own.normal(), np.exp(self.swing * own.normal())
        period, phase = own.uniform(10, 30), own.uniform(0, 6)
        noise = 0.1 * np.random.default_rng([seed, machine]).normal(size=(2, count))
        time = first + np.arange(count)
        speed = np.ones(count)
        if spell:
            speed[SPELL] = 2.0
        angle = 2 * np.pi * (first + np.cumsum(speed)) / period + phase
        label = (speed > 1).astype(np.int64)
        if spell:
            label[SPELL.stop : SPELL.stop + WINDOW] = AFTER
        values = {"a": level + swing * np.sin(angle), "b": 2 * level + swing * np.cos(angle)}
        return pl.DataFrame(
            {
                "time": START + STEP * time,
                "entity": [f"m{machine}"] * count,
                **{name: v + n for (name, v), n in zip(values.items(), noise, strict=True)},
                "label": label,
            }
        )


@dataclass(frozen=True)
class Rates:
    """Shares of judged records that alarm: normal ones of entities that the fit saw, normal ones
    of others, and anomalies of either. NaN where there are none.
    """

    seen: float
    new: float
    found_seen: float
    found_new: float
    blocks: int
    blocks_of_new: int | None

    @classmethod
    def of(cls, fit: pl.DataFrame, seen: pl.DataFrame, new: pl.DataFrame, **how: object) -> Rates:
        with tempfile.TemporaryDirectory() as folder:
            out, given = Path(folder) / "artifact", fit.drop("label", strict=False)
            settings = {"alpha": ALPHA, "time": "time", "entity": "entity", "report": False, **how}
            train(given, out, **settings)
            scorer = vaewatch.load(out)
        shares = [_shares(scorer, each) for each in (seen, new)]
        series = scorer.artifact.manifest.series
        assert series is not None
        (normal_seen, found_seen), (normal_new, found_new) = shares
        return cls(
            normal_seen, normal_new, found_seen, found_new, series.blocks, series.blocks_of_new
        )


def _shares(scorer: vaewatch.Scorer, frame: pl.DataFrame) -> tuple[float, float]:
    """Return the share of normal records that alarm, and that of anomalies."""
    verdicts = scorer.score(frame.drop("label"))
    label, judged = frame["label"].to_numpy(), verdicts.judged
    kinds = [verdicts.is_anomaly[judged & (label == kind)] for kind in (0, 1)]
    normal, found = (float(kind.mean()) if len(kind) else float("nan") for kind in kinds)
    return normal, found


def fleets(seeds: int) -> Iterator[tuple[str, str, list[Rates]]]:
    for kind, deviations in KINDS.items():
        fleet = Fleet(*deviations)
        for size in FLEETS:
            for calibrate in ("all", "entities"):
                found = []
                for seed in range(seeds):
                    own, others = range(1000 * seed, 1000 * seed + size), 1000 * seed + 500
                    fit = fleet.records(own, RECORDS // size, seed)
                    later = {"count": LATER, "seed": seed + 100, "first": RECORDS // size + 50}
                    seen = fleet.with_spells(own, **later)
                    new = fleet.with_spells(range(others, others + NEW), **later)
                    how = {"window": WINDOW, "calibrate": calibrate, "seed": seed}
                    found.append(Rates.of(fit, seen, new, **how))
                yield f"{size} machines, {kind}", calibrate, found


def halves(sets: Path) -> Iterator[tuple[str, str, list[Rates]]]:
    for folder in sorted(path.parent for path in sets.glob("*/train.parquet")):
        fitted, scored = (pl.read_parquet(folder / f"{n}.parquet") for n in ("train", "test"))
        names = fitted["entity"].unique().sort().to_list()
        sides = (names[::2], names[1::2])
        if min(map(len, sides)) < 2:
            continue
        for calibrate in ("all", "entities"):
            found = [
                Rates.of(
                    fitted.filter(pl.col("entity").is_in(own)),
                    scored.filter(pl.col("entity").is_in(own)),
                    scored.filter(pl.col("entity").is_in(other)),
                    calibrate=calibrate,
                )
                for own, other in (sides, sides[::-1])
            ]
            yield f"{folder.name}, {len(sides[0])} and {len(sides[1])} entities", calibrate, found


def row(name: str, calibrate: str, found: list[Rates]) -> str:
    cells = []
    for field in ("seen", "new", "found_seen", "found_new"):
        shares = [getattr(each, field) for each in found]
        cells.append(f"{fmean(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})")
    for field in ("blocks", "blocks_of_new"):
        counts = [getattr(each, field) for each in found]
        cells.append(
            ", ".join("" if count is None else str(count) for count in counts).strip(", ")
        )
    return f"| {name} | `{calibrate}` | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=Path, help="folder of real sets of entities")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    given = parser.parse_args()
    found = [row(*each) for each in fleets(given.seeds)]
    if given.sets is not None:
        found += [row(*each) for each in halves(given.sets)]
    head = (
        "| fit | `--calibrate` | normal records in alarm, of entities seen | of new ones "
        "| anomalous records in alarm, of entities seen | of new ones | independent blocks "
        "| of new ones |"
    )
    text = f"Alpha {ALPHA}. Means over runs, with their range.\n\n{head}\n|{'---|' * 8}\n"
    write_section(given.out, "Windows", "Entities new to the fit", text + "\n".join(found))


if __name__ == "__main__":
    main()
