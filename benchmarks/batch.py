"""Files scored by four programs -> a table of rows per second and peak memory.

    python -m benchmarks.batch NORMAL.csv [--rows 2000000] [--threads 1,2] [--rounds 3]

NORMAL.csv: normal records with a header, such as NSL-KDD's. A file of so many rows is made from it
by sampling with noise, in the temporary folder (TMPDIR): 20,000,000 rows take about 7 GB, with the
largest output. Each program runs in a process of its own, one after the other, round by
round, and does the same work from file to file:

floor           polars reads the columns and writes them again, without scoring
vaewatch        vaewatch score
pandas          pandas in chunks, the same artifact, to_csv
PyOD            pandas in chunks, PyOD's VAE on one-hot features, to_csv
ray             vaewatch score --engine ray, only where --programs names it; its processor time is
                that of the driver alone: how many actors it could feed
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")
CHUNK = 50_000
EACH = [resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN]  # these count once they have ended
Program = Callable[[], None]
LIMITED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def make_rows(normal: Path, rows: int, target: Path) -> None:
    """Rows of the file drawn at random; numbers that are not whole get 1 % of noise."""
    import numpy as np
    import polars as pl

    source, rng = pl.read_csv(normal), np.random.default_rng(0)
    with open(target, "wb") as file:
        for start in range(0, rows, 100_000):
            size = min(100_000, rows - start)
            frame = source[rng.integers(0, len(source), size)]
            noisy = [
                (pl.col(name) * pl.Series(rng.normal(1, 0.01, size))).round(2)
                for name, dtype in frame.schema.items()
                if dtype.is_float()
            ]
            frame.with_columns(noisy).write_csv(file, include_header=start == 0)


def floor(source: Path, normal: Path, artifact: Path, out: Path, threads: int) -> None:
    import polars as pl

    pl.scan_csv(source).sink_csv(out)


def vaewatch(source: Path, normal: Path, artifact: Path, out: Path, threads: int) -> None:
    from vaewatch import cli

    arguments = ["score", str(artifact), str(source), "--out", str(out), "--quiet"]
    cli([*arguments, "--threads", str(threads)], standalone_mode=False)


def ray(source: Path, normal: Path, artifact: Path, out: Path, threads: int) -> None:
    from vaewatch import cli

    arguments = ["score", str(artifact), str(source), "--out", str(out), "--quiet"]
    arguments += ["--engine", "ray", "--threads", str(threads)]
    cli(arguments, standalone_mode=False)


def pandas_artifact(source: Path, normal: Path, artifact: Path, out: Path, threads: int) -> None:
    import pandas as pd

    from vaewatch.scoring.files.frames import checked_table, frame_of_pandas
    from vaewatch.scoring.scorer import Scorer

    scorer = Scorer.load(artifact, threads)
    for i, chunk in enumerate(pd.read_csv(source, chunksize=CHUNK)):
        table = checked_table(scorer.artifact.schema, frame_of_pandas(chunk))
        verdicts = scorer.score_table(table)
        chunk["anomaly_score"], chunk["p_value"] = verdicts.score, verdicts.p_value
        chunk.to_csv(out, mode="a" if i else "w", header=not i, index=False)


def pyod(source: Path, normal: Path, artifact: Path, out: Path, threads: int) -> Program:
    """Train the model beforehand: training is not part of the time."""
    import pandas as pd
    from pyod.models.vae import VAE

    fit = pd.get_dummies(pd.read_csv(normal))
    model = VAE(epoch_num=3, verbose=0).fit(fit.to_numpy("float32"))

    def run() -> None:
        for i, chunk in enumerate(pd.read_csv(source, chunksize=CHUNK)):
            dummies = pd.get_dummies(chunk).reindex(columns=fit.columns, fill_value=0)
            chunk["anomaly_score"] = model.decision_function(dummies.to_numpy("float32"))
            chunk.to_csv(out, mode="a" if i else "w", header=not i, index=False)

    return run


PROGRAMS: dict[str, Callable[[Path, Path, Path, Path, int], Program | None]] = {
    "floor": floor,
    "vaewatch": vaewatch,
    "pandas": pandas_artifact,
    "PyOD": pyod,
    "ray": ray,
}
USUAL = ("floor", "vaewatch", "pandas", "PyOD")


def child(name: str, folder: Path, normal: Path, threads: int) -> None:
    """Run one program and print its seconds, its seconds of processor, and its peak memory."""
    mine = [resource.RUSAGE_SELF] if name == "ray" else EACH
    started, before = time.perf_counter(), _processor_seconds(mine)
    rest = PROGRAMS[name](
        folder / "in.csv", normal, folder / "artifact", folder / f"{name}.csv", threads
    )
    if rest is not None:
        started, before = time.perf_counter(), _processor_seconds(mine)
        rest()
    seconds, processor = time.perf_counter() - started, _processor_seconds(mine) - before
    print(f"{seconds} {processor}")


def _processor_seconds(whose: list[int]) -> float:
    used = map(resource.getrusage, whose)
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_mb(pid: int) -> float:
    """The peaks of a process and of all that it has started, added: pages that they share count
    more than once. getrusage's figure would begin with that of the parent.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
        own = float(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):  # it has ended
        return 0.0
    return own + sum(_peak_mb(int(child)) for text in lists for child in text.split())


def measure(name: str, folder: Path, normal: Path, threads: int) -> tuple[float, float, float]:
    environment = {**os.environ, **dict.fromkeys(LIMITED, str(threads))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode
    if name == "vaewatch":  # it sets this itself: its threads are its own
        environment.pop("OPENBLAS_NUM_THREADS")
    # -P: do not search this folder first, or this file would hide other modules named `batch`
    command = [
        sys.executable,
        "-P",
        __file__,
        str(normal),
        "--child",
        name,
        "--folder",
        str(folder),
    ]
    memory = 0.0
    command += ["--threads", str(threads)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        program = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        while program.poll() is None:
            memory = max(memory, _peak_mb(program.pid))
            time.sleep(0.1)
        out.seek(0)
        err.seek(0)
        figures, said = out.read().split(), err.read().decode()
    if program.returncode:
        sys.exit(f"{name} failed:\n{said[-2000:]}")
    seconds, processor = map(float, figures[-2:])
    return seconds, processor, memory


@dataclass(frozen=True)
class Run:
    """One program on a number of threads."""

    name: str
    threads: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("normal", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--threads", default="1", help="one number or more, as 1,2")
    parser.add_argument("--rounds", type=int, default=1, help="the medians are shown")
    parser.add_argument("--programs", default=",".join(USUAL))
    parser.add_argument("--artifact", type=Path, help="[default: trained from NORMAL.csv]")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(asked.child, asked.folder, asked.normal, int(asked.threads))
    with tempfile.TemporaryDirectory() as name:
        compare(asked, Path(name))


def compare(asked: argparse.Namespace, folder: Path) -> None:
    """Make the input, run each program on it, and write the table."""
    from benchmarks.results import write_section

    if asked.artifact:
        (folder / "artifact").symlink_to(asked.artifact.resolve())
    else:
        from vaewatch.training.train import train

        train(asked.normal, folder / "artifact")
    normal = folder / "normal.csv"
    normal.write_bytes(asked.normal.read_bytes())
    make_rows(normal, asked.rows, folder / "in.csv")
    threads = [int(text) for text in asked.threads.split(",")]
    runs = [Run(name, n) for name in asked.programs.split(",") for n in threads]
    seen: dict[Run, list[tuple[float, float, float]]] = {run: [] for run in runs}
    for _ in range(asked.rounds):
        for run in runs:
            seen[run].append(measure(run.name, folder, normal, run.threads))
            (folder / f"{run.name}.csv").unlink()
            print(run, seen[run][-1], flush=True)
    load = f"Load of the machine in the last minute: {os.getloadavg()[0]:.1f}."
    title = f"{asked.rows:,} rows, threads: {asked.threads}; medians of {asked.rounds}"
    write_section(RESULTS, "Batch", title, "\n".join([load, "", *table(seen, asked.rows)]))


def table(seen: dict[Run, list[tuple[float, float, float]]], rows: int) -> list[str]:
    """Format a line for each run; `times` is its rate over the program's first run."""
    lines = [
        "| program | threads | rows/s | times | rows/s of processor time | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    first: dict[str, float] = {}
    for run, found in seen.items():
        seconds, processor, _ = map(statistics.median, zip(*found, strict=True))
        memory = max(peak for _, _, peak in found)
        times = first.setdefault(run.name, seconds) / seconds
        rates = f"{rows / seconds:,.0f} | {times:.2f} | {rows / processor:,.0f}"
        lines.append(f"| {run.name} | {run.threads} | {rates} | {memory:,.0f} |")
        print(lines[-1])
    return lines


if __name__ == "__main__":
    main()
