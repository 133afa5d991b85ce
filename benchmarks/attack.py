"""NSL-KDD through the service's own counting -> how soon an attack pages, and a day without one.

    python -m benchmarks.attack DATA

DATA holds normal.csv and labelled.csv (with `label` and `attack` columns). Trains on half of the
normal records; the other half, drawn again and again, is the normal traffic. promtool evaluates
the deployed rules on what each scrape would have read.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from batch.alerts import FAST
from benchmarks.results import write_section
from scoring.frames import checked_table
from tests.simulated import Scrapes, ever_firing, firing
from training.pipeline import train

BEFORE, SCRAPE, HOURS = 600, 15, 24
RATES = (1, 10, 100)  # records a second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    words = parser.parse_args()
    labelled = pl.read_csv(words.data / "labelled.csv", infer_schema=False)
    attacks = labelled.filter(pl.col("label") == "1").drop("label", "attack")
    normal = pl.read_csv(words.data / "normal.csv", infer_schema=False).select(attacks.columns)
    normal = normal.sample(fraction=1.0, shuffle=True, seed=0)
    half = len(normal) // 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        normal.head(half).write_csv(folder / "fit.csv")
        train([folder / "fit.csv"], folder / "artifact", alpha=0.01)
        rest = normal.tail(half)
        lines = [_attack(folder, rest, attacks, rate) for rate in RATES]
        _day(folder, rest)
    text = "\n".join(
        [
            f"{HOURS} hours of normal records, one a second, scraped every minute: no alert.",
            "",
            f"Attack records alone after {BEFORE // 60} minutes of normal ones, scraped every "
            f"{SCRAPE} seconds:",
            "",
            "| records/s | the page comes with |",
            "|---|---|",
            *lines,
        ]
    )
    write_section(words.out, "Watching", "An attack replayed (NSL-KDD)", text)


def _attack(folder: Path, normal: pl.DataFrame, attacks: pl.DataFrame, rate: int) -> str:
    scrapes = Scrapes(folder / "artifact")
    before = _drawn(normal, rate * BEFORE)
    _take(scrapes, pl.concat([before, _drawn(attacks, rate * 4 * SCRAPE)]), rate * SCRAPE)
    for after in (1, 2, 3, 4):
        at = BEFORE + after * SCRAPE
        if _holds(scrapes, folder, SCRAPE, [firing(BEFORE), _pages(at)]):
            return f"| {rate} | scrape {after} |"
    raise RuntimeError(f"{FAST.name} did not fire at {rate} records/s")


def _day(folder: Path, normal: pl.DataFrame) -> None:
    scrapes = Scrapes(folder / "artifact")
    _take(scrapes, _drawn(normal, HOURS * 3600), 60)
    scrapes.promtool(folder, 60, [ever_firing(HOURS * 3600)])


def _drawn(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    return frame.sample(n, with_replacement=True, shuffle=True, seed=1)


def _take(scrapes: Scrapes, frame: pl.DataFrame, size: int) -> None:
    schema = scrapes.scorer.artifact.schema
    scrapes.take(checked_table(schema, part) for part in frame.iter_slices(size))


def _pages(at: int) -> dict[str, Any]:
    expr = f'count(ALERTS{{alertname="{FAST.name}",alertstate="firing"}})'
    return {"expr": expr, "eval_time": f"{at}s", "exp_samples": [{"labels": "{}", "value": 1}]}


def _holds(scrapes: Scrapes, folder: Path, interval: int, checks: list[dict[str, Any]]) -> bool:
    try:
        scrapes.promtool(folder, interval, checks)
    except AssertionError:
        return False
    return True


if __name__ == "__main__":
    main()
