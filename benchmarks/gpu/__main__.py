"""Everything that is to be known of training on a GPU, in one command of about six minutes.

    python -m benchmarks.gpu [--nsl-kdd FOLDER] [--adbench FOLDER] [--budget 450]

Each stage is a process with a limit of its own, and each figure is kept as soon as it is there:
what a stage leaves when it is killed is written, too. `--only STAGE,STAGE` runs some of them.
Without a GPU the section says so. `--device cpu --small --out FILE` rehearses all stages on a CPU,
in a minute, with figures that mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.gpu.table import table
from benchmarks.results import write_section

RESULTS = Path(__file__).parents[1] / "RESULTS.md"
LIMITS = {  # stage -> seconds at most
    "machine": 60,
    "tests": 120,
    "gradient": 60,
    "rate": 120,
    "kernels": 60,
    "optimiser": 60,
    "quality": 150,
    "batches": 120,
    "pyod": 90,
    "command": 90,
}
NONE = "Not measured on a GPU: this machine has none."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--nsl-kdd", type=Path, help="folder with normal.csv and labelled.csv")
    parser.add_argument("--adbench", type=Path, help="folder of ADBench's .npz files")
    parser.add_argument("--device", default="cuda", help="cpu: a rehearsal")
    parser.add_argument("--small", action="store_true", help="sizes of a rehearsal")
    parser.add_argument("--only", help=f"stages, of {', '.join(LIMITS)}")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds of all stages")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        return write_section(args.out, "Training", "On a GPU", NONE)
    stages = args.only.split(",") if args.only else list(LIMITS)
    if args.device == "cpu" and args.out == RESULTS:
        parser.error("--device cpu must come with --out: a rehearsal measures nothing.")
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.jsonl"
        figures.touch()
        ends = time.perf_counter() + args.budget
        for stage in stages:
            _run(stage, args, figures, min(LIMITS[stage], ends - time.perf_counter()))
        found = [json.loads(line) for line in figures.read_text().splitlines()]
    write_section(args.out, "Training", "On a GPU", table(found, rehearsal=args.device == "cpu"))


def _run(stage: str, args: argparse.Namespace, figures: Path, seconds: float) -> None:
    """Run a stage in a process of its own; what goes wrong is a figure, too."""
    words = [stage, "--figures", figures, "--device", args.device]
    words += ["--small"] if args.small else []
    words += [w for f in ("nsl_kdd", "adbench") if getattr(args, f) for w in _folder(f, args)]
    started, ended = time.perf_counter(), "no time was left"
    if seconds > 5:
        command = [sys.executable, "-m", "benchmarks.gpu.stages", *map(str, words)]
        try:
            code = subprocess.run(command, timeout=seconds, env=_environment()).returncode
            ended = f"exit {code}" if code else ""
        except subprocess.TimeoutExpired:
            ended = f"stopped after {seconds:.0f} s"
    print(f"{stage}: {time.perf_counter() - started:.0f} s {ended}", flush=True)
    if ended:
        with figures.open("a") as file:
            file.write(json.dumps([stage, "ended early", ended]) + "\n")


def _folder(name: str, args: argparse.Namespace) -> list[object]:
    return [f"--{name.replace('_', '-')}", getattr(args, name)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    main()
