"""Does a member that serves lag behind the others? It would outweigh them in the mean.

    python -m benchmarks.members DATA [--seeds 0,1,2] [--columns 8] [--out benchmarks/RESULTS.md]

DATA holds OddBench's .npz files, of which those with few columns are fitted. A member's residuals
are compared at their 95 % quantile over fit records, squared, with those of the median member.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.results import write_section
from vaewatch.training.config import TrainConfig
from vaewatch.training.pipeline import fit
from vaewatch.training.vae.laggards import LAGS, residual_lengths

ALPHA = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    every, serving = [], []
    for path in sorted(args.data.glob("*.npz")):
        x = np.load(path)["X_train"]
        if x.shape[1] > args.columns:
            continue
        frame = pl.DataFrame({f"f{i}": column for i, column in enumerate(x.astype(float).T)})
        for seed in map(int, args.seeds.split(",")):
            ratios, served = ratios_of(frame, seed)
            print(path.stem, seed, ratios.round(2), ratios[served].round(2), flush=True)
            every.append(ratios)
            serving.append(ratios[served])
    write_section(args.out, "Detection", "Members that lag (OddBench)", _text(every, serving))


def ratios_of(frame: pl.DataFrame, seed: int) -> tuple[np.ndarray, list[int]]:
    """Return each member's residuals over the median member's, and which members serve."""
    learned = fit(frame, TrainConfig(alpha=ALPHA, seed=seed))
    lengths = residual_lengths(learned.fitted, learned.evidence.x)
    return lengths / np.median(lengths), learned.fitted.folds.serving


def _text(every: list[np.ndarray], serving: list[np.ndarray]) -> str:
    rows = [_row("all members", every), _row("those that serve", serving)]
    return (
        f"| {len(every)} fits | members | above {LAGS} of the median | largest |\n"
        "|---|---|---|---|\n" + "\n".join(rows)
    )


def _row(name: str, ratios: list[np.ndarray]) -> str:
    whole = np.concatenate(ratios)
    return f"| {name} | {len(whole)} | {(whole > LAGS).sum()} | {whole.max():.2f} |"


if __name__ == "__main__":
    main()
