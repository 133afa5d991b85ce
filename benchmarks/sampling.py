"""NSL-KDD: how close are sampled records to real ones, column by column?

    python -m benchmarks.sampling DATA [--out benchmarks/RESULTS.md]

DATA holds normal.csv. Three fifths of it train; the rest is what samples are compared with, and a
second real sample shows what chance alone gives. Beside the prior N(0, I) the latents of real
records (the aggregate posterior) go through the same decoder: what the prior misses, they show.
With --at-most KS TV nothing is written: the command fails where the prior's worst is above.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import ks_2samp, rankdata

from benchmarks.results import write_section
from vaewatch.scoring.features.vectorizer import Vectorizer
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.table import Table
from vaewatch.training.export.weights import load_served
from vaewatch.training.marginals import load_marginals
from vaewatch.training.records.read import read_frame
from vaewatch.training.sample import decode, records_of, sample
from vaewatch.training.train import train

MOST = 1000  # codes of a column


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    parser.add_argument("--at-most", type=float, nargs=2, metavar=("KS", "TV"))
    args = parser.parse_args()
    frame = read_frame(args.data / "normal.csv").sample(fraction=1.0, shuffle=True, seed=0)
    fifth = len(frame) // 5
    fit, one, two = frame.head(3 * fifth), frame[3 * fifth : 4 * fifth], frame.tail(fifth)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it"
        artifact = train(fit, path, alpha=0.01).artifact
        x = artifact.vectorizer.transform(checked_table(artifact.schema, two)).values
        ways = {
            "another real sample": two,
            "prior": sample(path, fifth),
            "aggregate posterior": _posterior(path, artifact.vectorizer, x),
        }
    real = checked_table(artifact.schema, one)
    found = {w: Distances.of(real, checked_table(artifact.schema, d)) for w, d in ways.items()}
    if args.at_most:
        return _check(found["prior"], *args.at_most)
    head = (
        f"{fifth:,} records each, against {fifth:,} real ones. Kolmogorov-Smirnov statistic (KS) "
        f"of the {len(artifact.schema.numeric)} numeric columns, total variation (TV) of the "
        f"{len(artifact.schema.discrete)} others, of each and of two at a time, and by how much "
        "the rank correlation of two numeric columns is off, on average.\n\n"
        "| drawn from | KS: mean | worst | TV: mean | each | of two | correlation off by |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    rows = [distances.row(way) for way, distances in found.items()]
    write_section(args.out, "Sampling", "Marginals (NSL-KDD)", head + "\n".join(rows))


def _check(prior: Distances, ks: float, tv: float) -> None:
    """Exit with 1 if a column of the samples is farther off than the bounds."""
    print(f"KS at most {max(prior.ks.values()):.3f}, TV at most {max(prior.tv.values()):.3f}")
    if max(prior.ks.values()) > ks or max(prior.tv.values()) > tv:
        raise SystemExit(f"error: a sampled column must be within KS {ks:g} and TV {tv:g}.")


@torch.no_grad()
def _posterior(path: Path, vectorizer: Vectorizer, x: np.ndarray) -> pl.DataFrame:
    vae, generator = load_served(path), torch.Generator().manual_seed(0)
    features = torch.from_numpy(x[:, : vae.features]).expand(vae.members, -1, -1)
    posterior = vae.encode(features)
    z = posterior.rsample(torch.randn(posterior.mu.shape, generator=generator))
    decoded = decode(vae, z, generator)
    return records_of(vectorizer, load_marginals(path), decoded, np.random.default_rng(0))


@dataclass(frozen=True)
class Distances:
    """Distances between real and drawn records, by column and over pairs of numeric columns."""

    ks: dict[str, float]
    tv: dict[str, float]
    pairs: float
    correlation: float

    @classmethod
    def of(cls, real: Table, drawn: Table) -> Distances:
        numeric = zip(real.schema.numeric, real.numbers.T, drawn.numbers.T, strict=True)
        discrete = zip(real.schema.discrete, real.codes.T, drawn.codes.T, strict=True)
        apart = np.abs(_correlations(real) - _correlations(drawn))
        return cls(
            {c.name: float(ks_2samp(a, b, method="asymp").statistic) for c, a, b in numeric},
            {c.name: _variation(a, b) for c, a, b in discrete},
            float(
                np.mean([_variation(a, b) for a, b in zip(_both(real), _both(drawn), strict=True)])
            ),
            float(np.nanmean(apart[np.triu_indices_from(apart, 1)])),
        )

    def row(self, way: str) -> str:
        ks, worst = np.array(list(self.ks.values())), max(self.ks, key=lambda name: self.ks[name])
        each = ", ".join(f"{name} {value:.3f}" for name, value in self.tv.items())
        return (
            f"| {way} | {ks.mean():.3f} | {ks.max():.3f} ({worst}) "
            f"| {np.mean(list(self.tv.values())):.3f} | {each} "
            f"| {self.pairs:.3f} | {self.correlation:.3f} |"
        )


def _correlations(table: Table) -> np.ndarray:
    """Return Spearman's correlation of each pair of numeric columns; NaN if one is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(rankdata(table.numbers, axis=0), rowvar=False)


def _both(table: Table) -> Iterator[np.ndarray]:
    """Yield one code for the values of each two discrete columns."""
    for a, b in combinations(table.codes.T.astype(np.int64), 2):
        yield a * MOST + b


def _variation(real: np.ndarray, drawn: np.ndarray) -> float:
    """Return the total variation between the shares of codes."""
    both = np.concatenate([real, drawn])
    _, place = np.unique(both, return_inverse=True)
    count = [np.bincount(p, minlength=place.max() + 1) for p in np.split(place, [len(real)])]
    return float(np.abs(count[0] / len(real) - count[1] / len(drawn)).sum() / 2)


if __name__ == "__main__":
    main()
