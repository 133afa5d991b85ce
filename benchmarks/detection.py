"""Does `recalibrate` refuse where detection would be lost, and only there?

    python -m benchmarks.detection [--out benchmarks/RESULTS.md]

For each table and seed, an artifact is trained on half of the records and recalibrated on samples
of the other half: as they are, and after changes of a quarter of their numeric columns. Refusals
and warnings are counted by kind of change. One table is generated, the others ship with
scikit-learn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from benchmarks.results import write_section
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.calibration.calibrate import calibrate
from vaewatch.training.calibration.detection import Comparison, Detection
from vaewatch.training.train import train

SEEDS = (0, 1, 2)
HARMLESS, CHANGED = 20, 3  # recalibrations of each table, seed, alpha and size
ALPHAS = (0.05, 0.01)
FEW = 120  # records that just certify the smaller alpha

Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


def tables() -> Iterator[tuple[str, pl.DataFrame]]:
    cancer = load_breast_cancer()
    yield "breast cancer, benign", _frame(cancer.data[cancer.target == 1])
    yield "digits", _frame(load_digits().data)
    yield "diabetes", _frame(load_diabetes().data)
    yield "wine", _frame(load_wine().data)
    yield "orders", orders(3000, seed=0)


def _frame(x: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> pl.DataFrame:
    return pl.DataFrame({f"c{i}": column for i, column in enumerate(x.T)})


def orders(n: int, seed: int) -> pl.DataFrame:
    """Generate a mixed table whose columns depend on one another."""
    rng = np.random.default_rng(seed)
    size, kind = rng.normal(size=n), rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    return pl.DataFrame(
        {
            "amount": np.exp(3 + 0.5 * size + 0.3 * kind + 0.1 * rng.normal(size=n)),
            "items": rng.poisson(np.exp(1 + 0.4 * size)),
            "weight": 2 + size + 0.5 * kind + 0.2 * rng.normal(size=n),
            "distance": rng.gamma(2.0, 20.0, n),
            "kind": np.array(["book", "toy", "tool", "chair"])[kind],
            "express": rng.random(n) < np.array([0.1, 0.2, 0.4, 0.7])[kind],
        }
    )


def share_moved(share: float, deviations: float) -> Change:
    """Move some records' numbers; a quarter of the columns, drawn at random."""

    def change(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
        moved = pl.Series(rng.random(len(frame)) < share)
        names = [name for name in frame.columns if frame[name].dtype.is_numeric()]
        chosen = rng.permutation([name for name in names if frame[name].n_unique() > 5])
        by = {name: deviations * float(frame[name].std() or 0.0) for name in chosen}  # type: ignore[arg-type]
        return frame.with_columns(
            [
                pl.when(moved).then(pl.col(name) + by[name]).otherwise(pl.col(name))
                for name in chosen[: max(1, len(names) // 4)]
            ]
        )

    return change


CHANGES: dict[str, Change] = {
    "none: the same source": lambda frame, rng: frame,
    "all records, by 0.25 deviations": share_moved(1.0, 0.25),
    "all records, by 1 deviation": share_moved(1.0, 1.0),
    "all records, by 3 deviations": share_moved(1.0, 3.0),
    "15 % of the records, by 8 deviations": share_moved(0.15, 8.0),
    "4 % of the records, by 8 deviations": share_moved(0.04, 8.0),
}


@dataclass(frozen=True)
class Case:
    """One recalibration: what the records went through, and what it found."""

    change: str
    few: bool
    alpha: float
    detection: Detection


def cases(path: Path, rest: pl.DataFrame, seed: int) -> Iterator[Case]:
    scorer = Scorer.load(path)
    for change, apply in CHANGES.items():
        for i in range(HARMLESS if apply is CHANGES["none: the same source"] else CHANGED):
            rng = np.random.default_rng([seed, i])
            for few in (False, True):
                size = min(FEW, len(rest)) if few else len(rest)
                new = apply(rest.sample(size, with_replacement=False, seed=i), rng)
                table = checked_table(scorer.artifact.schema, new)
                scores = scorer.score_table(table, explain=0).score
                for alpha in ALPHAS:
                    if alpha * (size + 1) >= 1:
                        comparison = Comparison.of(scorer, calibrate(scores, alpha, "split"))
                        yield Case(change, few, alpha, comparison.detection(table, scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    found: list[Case] = []
    for name, frame in tables():
        for seed in SEEDS:
            mixed = frame.sample(fraction=1.0, shuffle=True, seed=seed)
            half = len(mixed) // 2
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "artifact"
                train(mixed[:half], path, alpha=0.05, seed=seed, report=False)
                found += cases(path, mixed[half:], seed)
        print(name, flush=True)
    write_section(args.out, "The alarm budget", "What recalibrating would hide", text(found))


def text(found: list[Case]) -> str:
    head = (
        f"{len(SEEDS)} seeds of {len(list(tables()))} tables; half of the records train, the "
        f"others recalibrate, all of them or {FEW}, at alpha 0.05 and 0.01. A change moves a "
        "quarter of the numeric columns. Shares are means over recalibrations; planted anomalies "
        "are shuffled and far ones.\n\n"
        "| change of the new normals | recalibrations | refused | only warned "
        "| normals that alarm before | planted anomalies found before | after |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(_row(change, found) for change in CHANGES)


def _row(change: str, found: list[Case]) -> str:
    own = [case.detection for case in found if case.change == change]
    refused = sum(bool(d.lost) for d in own)
    warned = sum(bool(d.lowered) and not d.lost for d in own)
    before, after = (
        np.mean(
            [
                getattr(kind, when)
                for d in own
                for fault, kind in d.planted.items()
                if fault in ("shuffled", "far")
            ]
        )
        for when in ("before", "after")
    )
    alarms = np.mean([d.alarms for d in own])
    return (
        f"| {change} | {len(own)} | {refused} | {warned} | {alarms:.3f} | {before:.2f} "
        f"| {after:.2f} |"
    )


if __name__ == "__main__":
    main()
