"""How long training takes and how much memory, as records and columns grow; beside PyOD's VAE.

    python -m benchmarks.training [--nsl-kdd FOLDER] [--most CELLS]
    python -m benchmarks.training --only 10000x30       one table, printed and not written
    python -m benchmarks.training --only imports
    python -m benchmarks.training --only pyod --nsl-kdd FOLDER

Each cell is the command `vaewatch train` on a Parquet file, start-up and reading included, on one
thread of a CPU. With a folder of NSL-KDD, PyOD's VAE is fitted to the same records in the same
run, on a CPU, too. `python -m benchmarks.gpu` measures a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.results import write_section
from vaewatch.training.config import TrainConfig

RESULTS = Path(__file__).with_name("RESULTS.md")
RECORDS = (1_000, 10_000, 100_000, 1_000_000)
COLUMNS = (10, 30, 50, 200, 1_000)
FEWER_STEPS = (400, 200)  # detection is above PyOD's long before the default's end
CELLS = 50_000_000  # larger tables are left out
BLOCK = 50_000
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
IMPORTS = "import vaewatch.commands.train, vaewatch.training.ahead, vaewatch.training.train"
ROUNDS = 5  # of imports


@dataclass(frozen=True)
class Run:
    """Wall and processor seconds and peak resident MiB of one command, and the seconds that its
    fit took.
    """

    seconds: float
    processor: float
    peak_mib: float
    fit_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nsl-kdd", type=Path, help="folder with normal.csv and labelled.csv")
    parser.add_argument("--most", type=int, default=CELLS, help="cells of the largest table")
    parser.add_argument("--only", help="RECORDSxCOLUMNS, imports or pyod")
    args = parser.parse_args()
    if args.only and "x" in args.only:
        records, columns = map(int, args.only.split("x"))
        print("\n".join(sweep([(records, columns)])))
        return
    if args.only in (None, "imports"):
        write_section(RESULTS, "Training", "Imports of `vaewatch train`", imports())
    if args.only is None:
        cells = [(n, d) for n in RECORDS for d in COLUMNS if n * d <= args.most]
        text = "\n".join(sweep(cells))
        write_section(RESULTS, "Training", "Time and memory on one core", text)
    if args.nsl_kdd and args.only in (None, "pyod"):
        write_section(
            RESULTS, "Training", "Beside PyOD's VAE on NSL-KDD", beside_pyod(args.nsl_kdd)
        )


def imports() -> str:
    """Take the median of what importing all that a fit needs takes, without a report."""
    runs = [measured([sys.executable, "-c", IMPORTS]) for _ in range(ROUNDS)]
    wall, processor = (float(np.median(column)) for column in list(zip(*runs, strict=True))[:2])
    return f"{processor:.2f} s of the processor, {wall:.2f} s; medians of {ROUNDS}."


def sweep(cells: Sequence[tuple[int, int]]) -> Iterator[str]:
    yield "| records | columns | whole command, s | processor, s | fit alone, s | peak MiB |"
    yield "|---|---|---|---|---|---|"
    for n, d in cells:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "normal.parquet"
            write_table(path, n, d)
            run = train(path, Path(folder) / "artifact")
        print(f"{n:,} x {d:,}: {run.seconds:.1f} s, {run.peak_mib:.0f} MiB", flush=True)
        took = f"{run.seconds:.1f} | {run.processor:.1f} | {run.fit_seconds:.1f}"
        yield f"| {n:,} | {d:,} | {took} | {run.peak_mib:.0f} |"


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


def measured(command: Sequence[str]) -> tuple[float, float, float]:
    """Run a command on one thread: wall seconds, processor seconds, peak MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=ENV)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {' '.join(command)} exited {process.returncode}.")
    wall = time.perf_counter() - start
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def train(data: Path, out: Path, *options: str) -> Run:
    words = ["train", str(data), "--out", str(out), *options]
    words += ["--alpha", "0.05", "--device", "cpu", "--quiet"]
    wall, processor, peak = measured([sys.executable, "-m", "vaewatch", *words])
    fit_seconds = json.loads((out / "manifest.json").read_text())["run"]["fit_seconds"]
    return Run(wall, processor, peak, fit_seconds)


def beside_pyod(folder: Path) -> str:
    """Fit each to normal.csv and score labelled.csv, on one thread of a CPU."""
    labelled = pd.read_csv(folder / "labelled.csv")
    y = labelled.pop("label")
    records = labelled.drop(columns="attack")
    seconds, used, theirs = pyod_vae(folder, records)
    lines = [
        "| | whole command, s | processor, s | fit alone, s | PyOD's fit takes, times the whole "
        "command | by processor time | AUROC |",
        "|---|---|---|---|---|---|---|",
        f"| PyOD VAE, defaults | | {used:.1f} | {seconds:.1f} | | | "
        f"{roc_auc_score(y, theirs):.4f} |",
    ]
    for steps in (TrainConfig.steps, *FEWER_STEPS):
        run, scores = train_and_score(folder, records, steps)
        times = f"{seconds / run.seconds:.1f} | {used / run.processor:.1f}"
        took = f"{run.seconds:.1f} | {run.processor:.1f} | {run.fit_seconds:.1f}"
        lines.append(f"| `--steps {steps}` | {took} | {times} | {roc_auc_score(y, scores):.4f} |")
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


def pyod_vae(folder: Path, records: pd.DataFrame) -> tuple[float, float, np.ndarray]:
    """Return the wall and the processor seconds of PyOD's fit, and its scores."""
    from pyod.models.vae import VAE as PyodVAE

    torch.set_num_threads(1)
    normal = pd.read_csv(folder / "normal.csv")
    encode = one_hot(normal)
    x = encode.fit_transform(normal)
    start, used = time.perf_counter(), time.process_time()
    model = PyodVAE(random_state=0, verbose=0, device=torch.device("cpu"))
    model.fit(x)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    return seconds, used, model.decision_function(encode.transform(records[normal.columns]))


def one_hot(normal: pd.DataFrame) -> ColumnTransformer:
    """Return what makes PyOD's features of records: standardised numbers, and one-hot texts."""
    texts = normal.select_dtypes(exclude="number").columns
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        remainder=StandardScaler(),
    )


if __name__ == "__main__":
    main()
