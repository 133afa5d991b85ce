"""How long training takes and how much memory, as records and columns grow; beside PyOD's VAE.

    python -m benchmarks.training [--nsl-kdd FOLDER] [--most CELLS]

Each cell is the command `vaewatch train` on a Parquet file, start-up and reading included, on one
thread. With a folder of NSL-KDD, PyOD's VAE is fitted to the same records in the same run. Where
there is a GPU, the training loop's own rate is measured on it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.compose import make_column_transformer
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.results import write_section
from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.fit import default_latent
from vaewatch.training.vae.loop import Loop
from vaewatch.training.vae.vae import VAE

RESULTS = Path(__file__).with_name("RESULTS.md")
RECORDS = (1_000, 10_000, 100_000, 1_000_000)
COLUMNS = (10, 30, 50, 200, 1_000)
FEWER_STEPS = (400, 200)  # detection is above PyOD's long before the default's end
CELLS = 50_000_000  # larger tables are left out
BLOCK = 50_000
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
GPU_BATCHES = (128, 1024, 8192)
GPU_STEPS = 200


@dataclass(frozen=True)
class Run:
    """Wall seconds and peak resident MiB of one command, and the seconds that its fit took."""

    seconds: float
    peak_mib: float
    fit_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nsl-kdd", type=Path, help="folder with normal.csv and labelled.csv")
    parser.add_argument("--most", type=int, default=CELLS, help="cells of the largest table")
    parser.add_argument("--only", choices=["cpu", "gpu"], help="skip what runs on the other")
    args = parser.parse_args()
    if args.only != "cpu":
        write_section(RESULTS, "Training", "On a GPU", gpu())
    if args.only == "gpu":
        return
    write_section(RESULTS, "Training", "Time and memory on one core", "\n".join(sweep(args.most)))
    if args.nsl_kdd:
        write_section(
            RESULTS, "Training", "Beside PyOD's VAE on NSL-KDD", beside_pyod(args.nsl_kdd)
        )


def sweep(most: int) -> Iterator[str]:
    yield "| records | columns | whole command, s | fit alone, s | peak MiB |"
    yield "|---|---|---|---|---|"
    for n in RECORDS:
        for d in COLUMNS:
            if n * d > most:
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "normal.parquet"
                write_table(path, n, d)
                run = train(path, Path(folder) / "artifact")
            print(f"{n:,} x {d:,}: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB", flush=True)
            cells = f"{run.seconds:.1f} | {run.fit_seconds:.1f} | {run.peak_mib:.0f}"
            yield f"| {n:,} | {d:,} | {cells} |"


def write_table(path: Path, n: int, d: int) -> None:
    """Correlated normal columns, a block at a time."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(max(2, d // 4), d)).astype(np.float32)
    names = [f"c{i}" for i in range(d)]
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n, BLOCK):
            rows = min(BLOCK, n - start)
            z = rng.normal(size=(rows, len(mix))).astype(np.float32)
            x = z @ mix + rng.normal(size=(rows, d)).astype(np.float32)
            writer.write_table(pa.table(dict(zip(names, x.T, strict=True)), schema=schema))


def train(data: Path, out: Path, *options: str) -> Run:
    command = [sys.executable, "-m", "vaewatch", "train", str(data), "--out", str(out), *options]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--alpha", "0.05", "--device", "cpu", "--quiet"], env=ENV
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} exited {process.returncode}.")
    seconds = time.perf_counter() - start
    fit_seconds = json.loads((out / "manifest.json").read_text())["run"]["fit_seconds"]
    return Run(seconds, usage.ru_maxrss / 1024, fit_seconds)


def beside_pyod(folder: Path) -> str:
    """Fit each to normal.csv and score labelled.csv, on one thread."""
    labelled = pd.read_csv(folder / "labelled.csv")
    y = labelled.pop("label")
    records = labelled.drop(columns="attack")
    seconds, theirs = pyod_vae(folder, records)
    lines = [
        "| | whole command, s | fit alone, s | PyOD's fit takes, times | AUROC |",
        "|---|---|---|---|---|",
        f"| PyOD VAE, defaults | | {seconds:.1f} | | {roc_auc_score(y, theirs):.4f} |",
    ]
    for steps in (TrainConfig.steps, *FEWER_STEPS):
        run, scores = train_and_score(folder, records, steps)
        cells = f"{run.seconds:.1f} | {run.fit_seconds:.1f} | {seconds / run.fit_seconds:.1f}"
        lines.append(f"| `--steps {steps}` | {cells} | {roc_auc_score(y, scores):.4f} |")
        print(lines[-1], flush=True)
    lines += [
        "",
        "PyOD's default capacity of 0 clamps the KL term to 0: an autoencoder with noise.",
    ]
    return "\n".join(lines)


def train_and_score(folder: Path, records: pd.DataFrame, steps: int) -> tuple[Run, pd.Series]:
    with tempfile.TemporaryDirectory() as scratch:
        artifact, new, out = (f"{scratch}/{name}" for name in ("artifact", "new.csv", "out.csv"))
        run = train(folder / "normal.csv", Path(artifact), "--steps", str(steps))
        records.to_csv(new, index=False)
        words = ["score", artifact, new, "--out", out]
        subprocess.run([sys.executable, "-m", "vaewatch", *words], env=ENV, check=True)
        return run, pd.read_csv(out)["anomaly_score"]


def pyod_vae(folder: Path, records: pd.DataFrame) -> tuple[float, np.ndarray]:
    from pyod.models.vae import VAE as PyodVAE

    torch.set_num_threads(1)
    normal = pd.read_csv(folder / "normal.csv")
    texts = normal.select_dtypes(exclude="number").columns
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        remainder=StandardScaler(),
    )
    x = encode.fit_transform(normal)
    start = time.perf_counter()
    model = PyodVAE(random_state=0, verbose=0, device=torch.device("cpu"))
    model.fit(x)
    seconds = time.perf_counter() - start
    return seconds, model.decision_function(encode.transform(records[normal.columns]))


def gpu() -> str:
    """Measure records x members per second of the loop alone, at 40 features."""
    if not torch.cuda.is_available():
        return "Not measured on a GPU: this machine has none."
    x = np.random.default_rng(0).normal(size=(1_000_000, 40)).astype(np.float32)
    lines = [
        f"{torch.cuda.get_device_name()}, 1,000,000 x 40",
        "",
        "| batch | records x members / s |",
    ]
    lines.append("|---|---|")
    for batch in GPU_BATCHES:
        lines.append(f"| {batch} | {loop_rate(x, batch):,.0f} |")
    return "\n".join(lines)


def loop_rate(x: np.ndarray, batch: int) -> float:
    device, config = torch.device("cuda"), TrainConfig(batch=batch, steps=10 * GPU_STEPS)
    torch.set_float32_matmul_precision("high")
    vae = VAE(
        members=config.members,
        features=x.shape[1],
        latent=default_latent(x.shape[1]),
        width=config.width,
        generator=torch.Generator().manual_seed(0),
    ).to(device)
    folds = np.arange(len(x)) % config.members
    loop = Loop(vae, Batches.of(x, folds, config.members, device), config)
    for _ in range(10):
        loop.step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(GPU_STEPS):
        loop.step()
    torch.cuda.synchronize()
    return GPU_STEPS * batch * config.members / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
