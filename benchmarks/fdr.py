"""Of what `vaewatch score --fdr Q` finds, how much is false, and how many anomalies does it find?

    python -m benchmarks.fdr ADBENCH [--draws 200] [--out benchmarks/RESULTS.md]

ADBENCH is a folder of ADBench's .npz files. Half of the normal records of a table train an
artifact. Its calibration records and the other half are equally new to the network, so that the
scores of both are shuffled, for each draw anew: n of them calibrate, and the others are scored
together with anomalies, of which there are at most a tenth of the file. Means over draws are then
what the method promises: the false discovery rate, over calibrations as well as over records. n is
the artifact's own, an eighth of the training records; then half of all that were shuffled, as
after `vaewatch recalibrate` on as many records as are scored.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.results import write_section
from vaewatch.scoring.budget.calibration import SPLIT, Calibration
from vaewatch.scoring.budget.fdr import discoveries
from vaewatch.scoring.files.frames import table_of_frame
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.config import TrainConfig
from vaewatch.training.export.pack import pack
from vaewatch.training.export.package import Origin
from vaewatch.training.pipeline import fit

RATES = (0.05, 0.1, 0.2)
ALPHA = 0.01
CAP = 8000  # normal records of a table
MOST_ANOMALIES = 0.1  # of the file that is scored

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Scores of one table. normal: of the calibration's n records and of new ones."""

    name: str
    n: int
    normal: Scores
    anomalies: Scores


@dataclass(frozen=True)
class Found:
    """Means over draws: of the share of the found that is false, and of anomalies found."""

    false: float
    power: float
    some: float  # share of the draws in which anything was found
    error: float  # standard error of `false`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("adbench", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    rows, means = [], []
    for scored in tables(args.adbench):
        found = judge(scored, args.draws)
        means.append(found)
        rows.append(_row(scored, found))
        print(rows[-1], flush=True)
    write_section(args.out, "The alarm budget", "At a false discovery rate", _text(rows, means))


def tables(folder: Path) -> Iterator[Scored]:
    """Train on half of the normal records of each table, and score the others."""
    for path in sorted(folder.glob("*.npz")):
        arrays = np.load(path, allow_pickle=True)
        x, anomaly = np.asarray(arrays["X"], dtype=float), arrays["y"] == 1
        rng = np.random.default_rng([0, *path.stem.encode()])
        normal = rng.permutation(np.flatnonzero(~anomaly))[:CAP]
        fitted, fresh = normal[: len(normal) // 2], normal[len(normal) // 2 :]
        config = TrainConfig(alpha=ALPHA if len(fitted) > 1000 else 0.1)
        packed = pack(fit(_frame(x[fitted]), config), Origin(path.stem, "", len(fitted), 0.0))
        scorer = Scorer(packed.artifact())
        calibration = scorer.artifact.calibration
        if calibration.rule != SPLIT:
            continue  # its scores are not those of the network that serves
        chosen = rng.permutation(np.flatnonzero(anomaly))[: round(MOST_ANOMALIES * len(fresh))]
        pooled = np.concatenate([calibration.scores, _scores(scorer, x[fresh])])
        own = Scored(path.stem, calibration.n, pooled, _scores(scorer, x[chosen]))
        yield from (own, replace(own, n=len(pooled) // 2))


def _frame(x: NDArray[np.float64]) -> pl.DataFrame:
    return pl.DataFrame({f"f{i}": column for i, column in enumerate(x.T)})


def _scores(scorer: Scorer, x: NDArray[np.float64]) -> Scores:
    table, _ = table_of_frame(scorer.artifact.schema, _frame(x))
    return scorer.score_table(table, explain=0).score


def judge(scored: Scored, draws: int) -> list[Found]:
    """What is found at each of RATES, and then at ALPHA."""
    rng, each = np.random.default_rng(0), []
    for _ in range(draws):
        mixed = rng.permutation(scored.normal)
        calibration = Calibration(np.sort(mixed[: scored.n]), max(ALPHA, 1 / scored.n), SPLIT)
        normal = calibration.p_values(mixed[scored.n :])
        p_values = np.concatenate([normal, calibration.p_values(scored.anomalies)])
        found = [discoveries(p_values, q) for q in RATES] + [calibration.alarms(p_values)]
        each.append([_shares(mask, len(normal)) for mask in found])
    shares = np.array(each)  # (draws, rates, 3)
    means, errors = shares.mean(0), shares[:, :, 0].std(0) / draws**0.5
    return [Found(*mean, error) for mean, error in zip(means, errors, strict=True)]


def _shares(found: NDArray[np.bool_], normals: int) -> tuple[float, float, float]:
    false, total = int(found[:normals].sum()), int(found.sum())
    return false / max(total, 1), float(found[normals:].mean()), float(total > 0)


def _row(scored: Scored, found: list[Found]) -> str:
    file = len(scored.normal) - scored.n + len(scored.anomalies)
    cells = [f"{100 * f.false:.1f} | {100 * f.power:.0f} | {100 * f.some:.0f}" for f in found[:-1]]
    last = f"{100 * found[-1].false:.1f} | {100 * found[-1].power:.0f}"
    counts = f"{scored.n:,} | {file:,} | {len(scored.anomalies):,}"
    return f"| {scored.name} | {counts} | {' | '.join(cells)} | {last} |"


def _text(rows: list[str], means: list[list[Found]]) -> str:
    head = " | ".join(f"false at {q:g}, % | found, % | draws with any, %" for q in RATES)
    over = [
        f"{sum(found[i].false > q + 3 * found[i].error for found in means)} at {q:g}"
        for i, q in enumerate(RATES)
    ]
    false = ", ".join(
        f"{100 * np.mean([found[i].false for found in means]):.1f} % at {q:g}"
        for i, q in enumerate(RATES)
    )
    return (
        "Two rows a table: with the artifact's own n, and with as many calibration records as are "
        "scored. Too few calibration records cost discoveries; they do not make more of them "
        "false.\n\n"
        f"False: the mean share of false ones among the discoveries; found: the mean share of the "
        f"anomalies that are discoveries. The last two columns are those of an alarm at alpha "
        f"{ALPHA:g}, or at the least alpha of n records.\n\n"
        f"| table | n | records | anomalies | {head} | false at alpha, % | found, % |\n"
        f"|{'---|' * (4 + 3 * len(RATES) + 2)}\n" + "\n".join(rows) + "\n\n"
        f"Mean false over the tables: {false}. Tables above what was asked for by more than three "
        f"standard errors: {', '.join(over)}."
    )


if __name__ == "__main__":
    main()
