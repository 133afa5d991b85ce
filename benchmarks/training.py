"""How long training takes and how much memory, as records and columns grow; beside PyOD's VAE.

    python -m benchmarks.training [--nsl-kdd FOLDER] [--most CELLS]

Each cell is the command `vaewatch train` on a Parquet file, start-up and reading included, on one
thread. With a folder of NSL-KDD, PyOD's VAE is fitted to the same records in the same run. Where
there is a GPU, the training loop's own rate is measured on it.
"""

from __future__ import annotations

import argparse
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
from training.config import TrainConfig
from training.fit import default_latent
from training.loop import Batches, Loop
from training.vae import VAE

RESULTS = Path(__file__).with_name("RESULTS.md")
RECORDS = (1_000, 10_000, 100_000, 1_000_000)
COLUMNS = (10, 50, 200, 1_000)
CELLS = 50_000_000  # larger tables are left out
BLOCK = 50_000
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
GPU_BATCHES = (128, 1024, 8192)
GPU_STEPS = 200


@dataclass(frozen=True)
class Run:
    """Wall seconds and peak resident MiB of one command."""

    seconds: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nsl-kdd", type=Path, help="folder with normal.csv and labelled.csv")
    parser.add_argument("--most", type=int, default=CELLS, help="cells of the largest table")
    args = parser.parse_args()
    write_section(RESULTS, "Training", "Time and memory on one core", "\n".join(sweep(args.most)))
    write_section(RESULTS, "Training", "On a GPU", gpu())
    if args.nsl_kdd:
        write_section(
            RESULTS, "Training", "Beside PyOD's VAE on NSL-KDD", beside_pyod(args.nsl_kdd)
        )


def sweep(most: int) -> Iterator[str]:
    yield "| records | columns | seconds | peak MiB |\n|---|---|---|---|"
    for n in RECORDS:
        for d in COLUMNS:
            if n * d > most:
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "normal.parquet"
                write_table(path, n, d)
                run = train(path, Path(folder) / "artifact")
            print(f"{n:,} x {d:,}: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB", flush=True)
            yield f"| {n:,} | {d:,} | {run.seconds:.1f} | {run.peak_mib:.0f} |"


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


def train(data: Path, out: Path) -> Run:
    command = [sys.executable, "-m", "vaewatch", "train", str(data), "--out", str(out)]
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--alpha", "0.05", "--quiet"], env=ENV)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} exited {process.returncode}.")
    return Run(time.perf_counter() - start, usage.ru_maxrss / 1024)


def beside_pyod(folder: Path) -> str:
    """Both fitted to normal.csv and scored on labelled.csv, on one thread."""
    labelled = pd.read_csv(folder / "labelled.csv")
    y = labelled.pop("label")
    with tempfile.TemporaryDirectory() as scratch:
        ours = train(folder / "normal.csv", Path(scratch) / "artifact")
        labelled.drop(columns="attack").to_csv(Path(scratch) / "new.csv", index=False)
        words = [
            "score",
            f"{scratch}/artifact",
            f"{scratch}/new.csv",
            "--out",
            f"{scratch}/out.csv",
        ]
        subprocess.run([sys.executable, "-m", "vaewatch", *words], env=ENV, check=True)
        scores = pd.read_csv(Path(scratch) / "out.csv")["anomaly_score"]
    seconds, theirs = pyod_vae(folder, labelled)
    auroc = roc_auc_score(y, scores)
    return (
        "| | fit seconds | AUROC |\n|---|---|---|\n"
        f"| vaewatch train, whole command | {ours.seconds:.1f} | {auroc:.4f} |\n"
        f"| PyOD VAE, defaults, fit alone | {seconds:.1f} | {roc_auc_score(y, theirs):.4f} |\n\n"
        f"PyOD's VAE takes {seconds / ours.seconds:.1f} times as long. Its default capacity of 0 "
        "clamps the KL term to 0: it is an autoencoder with noise in its code."
    )


def pyod_vae(folder: Path, labelled: pd.DataFrame) -> tuple[float, np.ndarray]:
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
    model = PyodVAE(random_state=0, verbose=0)
    model.fit(x)
    seconds = time.perf_counter() - start
    return seconds, model.decision_function(encode.transform(labelled[normal.columns]))


def gpu() -> str:
    """Records x members a second of the loop alone, at 40 features."""
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
