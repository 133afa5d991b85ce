"""`train --from` beside a fit from nothing: detection, the alarm budget, and time.

    python -m benchmarks.continuing [--data FOLDER] [--out benchmarks/RESULTS.md]

Of each table's normals, 40 % train the old artifact, 30 % are new records, and 30 % are scored
with the anomalies. In the second part the world has changed in between: a quarter of the columns
of the new records, of the test and of the anomalies has moved by 1.5 standard deviations, and
another quarter spreads 1.7 times as far. The tables ship with scikit-learn; FOLDER adds a folder
of ADBench's .npz files.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import betabinom
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import roc_auc_score

from benchmarks.results import write_section
from vaewatch.scoring.budget.calibration import allowed_rank
from vaewatch.training.parent import STEPS
from vaewatch.training.train import train

ALPHA, SEEDS = 0.05, (0, 1, 2)
MOST_NORMALS, MOST_ANOMALIES = 4000, 1500
LEVEL = 0.99  # of the central range of the law that a count of false alarms is held against

Floats = NDArray[np.float64]


def tables(folder: Path | None) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield (name, normals, anomalies)."""
    cancer, digits = load_breast_cancer(), load_digits()
    yield "breast cancer", cancer.data[cancer.target == 1], cancer.data[cancer.target == 0]
    yield "digits below 5", digits.data[digits.target < 5], digits.data[digits.target >= 5]
    for path in sorted(folder.glob("*.npz")) if folder else ():
        with np.load(path, allow_pickle=True) as data:
            x, anomaly = np.asarray(data["X"], np.float64), np.asarray(data["y"]) == 1
        yield path.stem, x[~anomaly][:MOST_NORMALS], x[anomaly]


def _frame(x: Floats) -> pl.DataFrame:
    return pl.DataFrame({f"c{i}": column for i, column in enumerate(x.T)})


def changed(x: Floats) -> Floats:
    """Move a quarter of the columns, and spread another quarter."""
    order = np.random.default_rng(5).permutation(x.shape[1])
    quarter = max(1, x.shape[1] // 4)
    moved, spread = order[:quarter], order[quarter : 2 * quarter]
    after, mean = x.copy(), x.mean(0)
    after[:, moved] += 1.5 * x.std(0)[moved]
    after[:, spread] = (x[:, spread] - mean[spread]) * 1.7 + mean[spread]
    return after


@dataclass(frozen=True)
class Result:
    """Of one artifact on one test. inside: whether the false alarms are within the law's range."""

    auroc: float
    recall: float
    false_alarm_rate: float
    inside: bool
    fit_seconds: float


@dataclass(frozen=True)
class Trial:
    """What is given to each way of training, and what it is tested on."""

    old: pl.DataFrame
    both: pl.DataFrame
    test: pl.DataFrame
    anomaly: NDArray[np.bool_]

    @classmethod
    def of(cls, normals: Floats, anomalies: Floats, seed: int, *, change: bool) -> Trial:
        rng = np.random.default_rng(seed)
        normals = rng.permutation(normals)
        anomalies = rng.permutation(anomalies)[:MOST_ANOMALIES]
        later = np.concatenate([normals, anomalies])
        later = changed(later) if change else later
        first, last = int(0.4 * len(normals)), int(0.7 * len(normals))
        test = later[last:]
        return cls(
            old=_frame(normals[:first]),
            both=_frame(np.concatenate([normals[:first], later[first:last]])),
            test=_frame(test),
            anomaly=np.arange(len(test)) >= len(normals) - last,
        )

    def run(self, data: pl.DataFrame, out: Path, seed: int, **settings: Any) -> Result:
        scorer = train(data, out, report=False, seed=seed, alpha=ALPHA, **settings)
        verdicts, calibration = scorer.score(self.test, explain=0), scorer.artifact.calibration
        normals, alarm = int((~self.anomaly).sum()), verdicts.is_anomaly
        k = allowed_rank(ALPHA, calibration.n)
        law = betabinom(normals, k, calibration.n + 1 - k)
        low, high = law.interval(LEVEL)
        return Result(
            float(roc_auc_score(self.anomaly, verdicts.score)),
            float(alarm[self.anomaly].mean()),
            float(alarm[~self.anomaly].mean()),
            bool(low <= alarm[~self.anomaly].sum() <= high),
            scorer.artifact.manifest.run.fit_seconds,
        )


def results(trial: Trial, seed: int) -> dict[str, Result]:
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        short = Path(folder) / "short"
        return {
            "the old artifact": trial.run(trial.old, old, seed),
            "all records, from nothing": trial.run(trial.both, Path(folder) / "anew", seed),
            f"all records, {STEPS} steps from nothing": trial.run(
                trial.both, short, seed, steps=STEPS
            ),
            "all records, `--from` the old artifact": trial.run(
                trial.both, Path(folder) / "from", seed, continue_from=old
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    rows: list[str] = []
    for change in (False, True):
        found: list[dict[str, Result]] = []
        for name, normals, anomalies in tables(args.data):
            for seed in SEEDS:
                trial = Trial.of(normals, anomalies, seed, change=change)
                found.append(results(trial, seed))
            print(name, flush=True)
        rows += [_row(way, [one[way] for one in found], change) for way in found[0]]
    head = (
        f"Means over tables and {len(SEEDS)} seeds, at alpha {ALPHA:g}. Inside: the runs whose "
        f"count of false alarms is within the central {LEVEL:.0%} of its law.\n\n"
        "| new records | fit | AUROC | recall | false-alarm rate | inside | fit, seconds |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    write_section(args.out, "Training", "Continuing a fit", head + "\n".join(rows))


def _row(way: str, found: list[Result], change: bool) -> str:
    auroc, recall, rate, _, seconds = np.mean([astuple(result) for result in found], axis=0)
    inside = sum(result.inside for result in found)
    when = "changed" if change else "as before"
    return (
        f"| {when} | {way} | {auroc:.4f} | {recall:.3f} | {rate:.4f} | {inside} of {len(found)} "
        f"| {seconds:.1f} |"
    )


if __name__ == "__main__":
    main()
