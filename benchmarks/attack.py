"""NSL-KDD through the service's own counting -> how soon an attack pages, and a day without one.

    python -m benchmarks.attack DATA

DATA holds normal.csv and labelled.csv (with `label` and `attack` columns). Trains on half of the
normal records; the other half, drawn again and again, is the normal traffic. promtool evaluates
the deployed rules on what each scrape would have read; how sure a page is comes from many draws,
counted as tests/deploy/test_alert_rates.py shows that Prometheus does.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.alerts import increase
from benchmarks.results import write_section
from tests.deploy.simulated import Scrapes, ever_firing, firing, is_on
from vaewatch.batch.replay.alerts import FAST, SEVERE, Traffic
from vaewatch.scoring.files.frames import checked_table
from vaewatch.training.train import train

BEFORE, SCRAPE, HOURS = 600, 15, 24
RATES = (1, 2, 10, 100)  # records a second
DRAWS, SCRAPES = 1000, (1, 2, 3, 4)


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
        lines = [
            f"| {rate} | scrape {_attack(folder, rest, attacks, rate)} | "
            + " | ".join(f"{share:.1%}" for share in _shares(folder, rest, attacks, rate))
            + " |"
            for rate in RATES
        ]
        _day(folder, rest)
        caught = _alarms(folder, attacks)[0].mean()
    text = "\n".join(
        [
            f"{HOURS} hours of normal records, one a second, scraped every minute: no alert.",
            "",
            f"Attack records alone (all kinds, drawn at random: {caught:.0%} of "
            f"them alarm) after {BEFORE // 60} minutes of normal ones, scraped every {SCRAPE} s; "
            f"one replay through promtool, and how many of {DRAWS:,} draws have paged by then:",
            "",
            "| records/s | promtool pages at | scrape 1 | scrape 2 | scrape 3 | scrape 4 |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    )
    write_section(words.out, "Watching", "An attack replayed (NSL-KDD)", text)


def _attack(folder: Path, normal: pl.DataFrame, attacks: pl.DataFrame, rate: int) -> int:
    """Return the first scrape that pages."""
    scrapes = Scrapes(folder / "artifact")
    before = _drawn(normal, rate * BEFORE)
    _take(scrapes, pl.concat([before, _drawn(attacks, rate * 4 * SCRAPE)]), rate * SCRAPE)
    for after in SCRAPES:
        at = BEFORE + after * SCRAPE
        if _holds(scrapes, folder, SCRAPE, [firing(BEFORE), is_on(at, FAST.name)]):
            return after
    raise RuntimeError(f"{FAST.name} did not fire at {rate} records/s")


def _shares(folder: Path, normal: pl.DataFrame, attacks: pl.DataFrame, rate: int) -> list[float]:
    """Return the share of draws that have paged by each scrape."""
    rng, size = np.random.default_rng(rate), rate * SCRAPE
    before, after = BEFORE // SCRAPE, len(SCRAPES)
    drawn = [
        _steps(_alarms(folder, frame), (DRAWS, steps, size), rng)
        for frame, steps in ((normal, before), (attacks, after))
    ]
    alarms, severe = (np.concatenate(parts, axis=1) for parts in zip(*drawn, strict=True))
    high = Scrapes(folder / "artifact").registry.active.rate_interval[1]
    records = np.full(alarms.shape, float(size))
    on = FAST.on(Traffic(records, alarms, high * records, severe), increase)
    assert not on[:, :before].any()
    return [float(share) for share in np.maximum.accumulate(on[:, before:], axis=1).mean(axis=0)]


def _alarms(folder: Path, frame: pl.DataFrame) -> NDArray[np.bool_]:
    """Return which records alarm and which are severe, (2, records)."""
    scorer = Scrapes(folder / "artifact").scorer
    verdicts = scorer.score_table(checked_table(scorer.artifact.schema, frame), explain=0)
    return np.stack([verdicts.is_anomaly, verdicts.severity > SEVERE])


def _steps(
    of_records: NDArray[np.bool_], shape: tuple[int, int, int], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Count resampled records, (2, records) -> (2, draws, steps)."""
    draws, steps, size = shape
    out = np.zeros((2, draws, steps))
    for i in range(draws):
        which = rng.integers(of_records.shape[1], size=(steps, size))
        out[:, i] = of_records[:, which].sum(axis=-1)
    return out


def _day(folder: Path, normal: pl.DataFrame) -> None:
    scrapes = Scrapes(folder / "artifact")
    _take(scrapes, _drawn(normal, HOURS * 3600), 60)
    scrapes.promtool(folder, 60, [ever_firing(HOURS * 3600)])


def _drawn(frame: pl.DataFrame, n: int) -> pl.DataFrame:
    return frame.sample(n, with_replacement=True, shuffle=True, seed=1)


def _take(scrapes: Scrapes, frame: pl.DataFrame, size: int) -> None:
    schema = scrapes.scorer.artifact.schema
    scrapes.take(checked_table(schema, part) for part in frame.iter_slices(size))


def _holds(scrapes: Scrapes, folder: Path, interval: int, checks: list[dict[str, Any]]) -> bool:
    try:
        scrapes.promtool(folder, interval, checks)
    except AssertionError:
        return False
    return True


if __name__ == "__main__":
    main()
