"""NSL-KDD: how near are sampled records to real ones, column by column?

    python -m benchmarks.sampling DATA [--out benchmarks/RESULTS.md]

DATA holds normal.csv. Three fifths of it train; the rest is what samples are compared with, and a
second real sample shows what chance alone gives. Beside the prior N(0, I) the latents of real
records (the aggregate posterior) go through the same decoder: what the prior misses, they show.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.stats import ks_2samp

from benchmarks.results import write_section
from scoring.features import Vectorizer
from scoring.frames import checked_table
from scoring.records import Table
from training.config import TrainConfig
from training.data import read_frame
from training.pipeline import train
from training.sample import decode, records_of, sample
from training.weights import load_vae


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    frame = read_frame(args.data / "normal.csv").sample(fraction=1.0, shuffle=True, seed=0)
    fifth = len(frame) // 5
    fit, one, two = frame.head(3 * fifth), frame[3 * fifth : 4 * fifth], frame.tail(fifth)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "it"
        artifact = train(fit, path, alpha=0.01).artifact
        x = artifact.vectorizer.transform(checked_table(artifact.schema, two))
        ways = {
            "another real sample": two,
            "prior": sample(path, fifth),
            "aggregate posterior": _posterior(path, artifact.vectorizer, x),
        }
    real = checked_table(artifact.schema, one)
    rows = [_row(way, real, checked_table(artifact.schema, drawn)) for way, drawn in ways.items()]
    head = (
        f"{fifth:,} records each, against {fifth:,} real ones. Kolmogorov-Smirnov statistic (KS) "
        f"of the {len(artifact.schema.numeric)} numeric columns, total variation (TV) of the "
        f"{len(artifact.schema.discrete)} others.\n\n"
        "| drawn from | KS: mean | median | worst | TV: mean | each |\n|---|---|---|---|---|---|\n"
    )
    write_section(args.out, "Sampling", "Marginals (NSL-KDD)", head + "\n".join(rows))


@torch.no_grad()
def _posterior(path: Path, vectorizer: Vectorizer, x: np.ndarray) -> pl.DataFrame:
    vae, generator = load_vae(path), torch.Generator().manual_seed(0)
    features = torch.from_numpy(x[:, : vae.features]).expand(vae.members, -1, -1)
    posterior = vae.encode(features)
    z = posterior.rsample(torch.randn(posterior.mu.shape, generator=generator))
    decoded = decode(vae, z, TrainConfig().served, generator)
    return records_of(vectorizer, decoded, np.random.default_rng(0))


def _row(way: str, real: Table, drawn: Table) -> str:
    schema = real.schema
    ks = {
        c.name: ks_2samp(a[~np.isnan(a)], b[~np.isnan(b)]).statistic
        for c, a, b in zip(schema.numeric, real.numbers.T, drawn.numbers.T, strict=True)
    }
    tv = {
        c.name: np.abs(_shares(a) - _shares(b)).sum() / 2
        for c, a, b in zip(schema.discrete, real.codes.T, drawn.codes.T, strict=True)
    }
    values, worst = np.array(list(ks.values())), max(ks, key=lambda name: ks[name])
    each = ", ".join(f"{name} {value:.3f}" for name, value in tv.items())
    return (
        f"| {way} | {values.mean():.3f} | {np.median(values):.3f} | {ks[worst]:.3f} ({worst}) "
        f"| {np.mean(list(tv.values())):.3f} | {each} |"
    )


def _shares(codes: np.ndarray) -> np.ndarray:
    return np.bincount(codes, minlength=200) / len(codes)


if __name__ == "__main__":
    main()
