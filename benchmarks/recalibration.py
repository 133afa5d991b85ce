"""NSL-KDD's labelled normals are of another period: is the budget's breach seen, and mended?

    python -m benchmarks.recalibration DATA [--out benchmarks/RESULTS.md]

DATA holds normal.csv and labelled.csv (with `label` and `attack` columns). Trains on the first,
evaluates the second, recalibrates with half of its normals, and evaluates the other half.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.results import write_section
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.evaluate import evaluate
from vaewatch.training.recalibrate import Recalibration, recalibrate
from vaewatch.training.records.read import read_frame
from vaewatch.training.train import train

ALPHAS, SEEDS = (0.05, 0.01), (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    labelled = read_frame(args.data / "labelled.csv").drop("attack")
    normals = labelled.filter(pl.col("label") == "0")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            path = Path(folder) / f"seed{seed}"
            train([args.data / "normal.csv"], path, alpha=0.01, seed=seed)
            mixed = normals.sample(fraction=1.0, shuffle=True, seed=seed)
            recent, rest = mixed.head(len(mixed) // 2), mixed.tail(len(mixed) - len(mixed) // 2)
            for alpha in ALPHAS:
                new = Path(folder) / f"seed{seed}-{alpha}"
                recalibrate(path, recent.drop("label"), new, Recalibration(alpha=alpha))
                rows.append(_row(seed, alpha, "before, all", path, normals))
                rows.append(_row(seed, alpha, "before, other half", path, rest))
                rows.append(_row(seed, alpha, "after, other half", new, rest))
    write_section(
        args.out, "The alarm budget", "Another period (NSL-KDD)", _text(rows, len(normals))
    )


def _row(seed: int, alpha: float, when: str, path: Path, normals: pl.DataFrame) -> str:
    found = evaluate(Scorer.load(path), normals, "label", alpha)
    low, high = Scorer.load(path).artifact.manifest.calibration.rate_interval_95
    interval = f"{low:.4f} to {high:.4f}" if when.startswith("after") else ""
    return (
        f"| {seed} | {alpha:g} | {when} | {found.false_alarm_rate:.4f} | {interval} "
        f"| {found.budget_p_value:.2g} | {'holds' if found.budget_holds else 'BROKEN'} |"
    )


def _text(rows: list[str], normals: int) -> str:
    head = (
        f"Trained on normal.csv. The labelled file has {normals:,} normals of another period; "
        "half recalibrate. All of them, and the other half, are counted.\n\n"
        "| seed | alpha | recalibration, normals | false-alarm rate "
        "| 95 % interval of the true rate | p of such a count | `evaluate` says the budget |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)


if __name__ == "__main__":
    main()
