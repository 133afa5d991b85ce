"""Anomalies planted among the fit records: what they do to detection and to the alarm budget, with
and without `--contamination-robust`.

    python -m benchmarks.contamination DATA [--only NAME,NAME] [--seeds 0] [--alpha 0.05]

DATA is a folder of ADBench's .npz files. Half of the normals fit, with so many anomalies planted
that they make up the share; the other normals and anomalies are scored.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.quality import adbench, split
from benchmarks.results import write_section
from vaewatch.training.detector import VAEDetector

SHARES = (0.0, 0.005, 0.01, 0.02, 0.05)
SETS = "6_cardio,40_vowels"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default=SETS)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    names, seeds = set(args.only.split(",")), [int(seed) for seed in args.seeds.split(",")]
    rows = []
    for name, x, anomaly in adbench(args.data):
        if name not in names:
            continue
        for seed in seeds:
            for share in SHARES:
                fit, test, wrong = plant(x, anomaly, share, seed)
                for robust in (False, True):
                    found = measure(fit, test, wrong, robust, args.alpha, seed)
                    rows.append({"data": name, "planted": 100 * share, "robust": robust, **found})
                print(name, "seed", seed, "share", share, "done", flush=True)
    table = pd.DataFrame(rows).drop(columns="data").groupby(["planted", "robust"]).mean()
    head = (
        f"Means over {', '.join(sorted(names))}; seeds {args.seeds}; alpha {args.alpha:g}; all in "
        "per cent. Trimmed: of the fit records.\n\n"
    )
    text = head + markdown(table.reset_index())
    write_section(args.out, "The alarm budget", "Planted anomalies (ADBench)", text)


def plant(
    x: NDArray[np.float64], anomaly: NDArray[np.bool_], share: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Fit records with the planted ones last, test records, and which of those are anomalies."""
    fit, test, wrong = split(x, anomaly, seed)
    want = round(share / (1 - share) * len(fit))
    at = np.random.default_rng([seed, 1]).permutation(np.flatnonzero(wrong))[:want]
    if len(at) < want or len(at) == wrong.sum():
        raise SystemExit(f"error: {want} anomalies must be there to plant, and one to find.")
    rest = np.setdiff1d(np.arange(len(test)), at)
    return np.concatenate([fit, test[at]]), test[rest], wrong[rest]


def measure(
    fit: NDArray[np.float64],
    test: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    robust: bool,
    alpha: float,
    seed: int,
) -> dict[str, float]:
    detector = VAEDetector(alpha=alpha, random_state=seed, contamination_robust=robust).fit(fit)
    score, alarm = -detector.score_samples(test), detector.predict(test) == -1
    trimmed = detector.artifact_.manifest.metrics.trimmed_records
    return {
        "AUROC": 100 * roc_auc_score(wrong, score),
        "AUPRC": 100 * average_precision_score(wrong, score),
        "alarms on normals": 100 * alarm[~wrong].mean(),
        "recall": 100 * alarm[wrong].mean(),
        "trimmed": 100 * trimmed / len(fit),
    }


def markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    for planted, robust, *figures in table.itertuples(index=False):
        shown = [f"{figure:.1f}" for figure in figures]
        words = [f"{planted:g} %", "yes" if robust else "no", *shown]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
