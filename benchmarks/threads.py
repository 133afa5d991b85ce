"""What a fit takes alone, and beside two busy programs: wall and processor time.

    python -m benchmarks.threads [--rounds 5] [--out benchmarks/RESULTS.md]

`vaewatch train` of 2,000 generated records with 20 columns, on one thread (the default), on two,
and on one by OMP_NUM_THREADS as the floor; in turns, and the medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.results import write_section

RECORDS, COLUMNS, BUSY = 2000, 20, 2
WAYS = {  # name -> options, and environment
    "one thread, the default": ((), {}),
    "two threads": (("--threads", "2"), {}),
    "one by OMP_NUM_THREADS (floor)": ((), {"OMP_NUM_THREADS": "1"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("RESULTS.md"))
    args = parser.parse_args()
    seen: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _records().write_csv(folder / "normal.csv")
        for _ in range(args.rounds):
            for way in WAYS:
                for busy in (False, True):
                    with _busy(BUSY if busy else 0):
                        seen.setdefault((way, busy), []).append(_fit(folder, way))
    title = f"A fit alone, and beside {BUSY} busy programs ({args.rounds} rounds)"
    write_section(args.out, "Training", title, _table(seen))


def _records() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(RECORDS, 5)) @ rng.normal(size=(5, COLUMNS))
    x += 0.3 * rng.normal(size=x.shape)
    return pl.DataFrame({f"c{i}": column for i, column in enumerate(x.T)})


@contextmanager
def _busy(programs: int) -> Iterator[None]:
    code = "while True: pass"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def _fit(folder: Path, way: str) -> tuple[float, float]:
    """Return the wall and the processor seconds of one fit."""
    options, more = WAYS[way]
    env = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    words = ["train", folder / "normal.csv", "--out", folder / "artifact", "--overwrite"]
    words += ["--keep", "0", "--no-report", "--quiet", "--device", "cpu", *options]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "vaewatch", *map(str, words)], env={**env, **more}, check=True
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used


def _table(seen: dict[tuple[str, bool], list[tuple[float, float]]]) -> str:
    lines = [
        "| | alone: wall, s | processor, s | beside busy ones: wall, s | processor, s |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        cells = [f"{v:.1f}" for busy in (False, True) for v in np.median(seen[way, busy], axis=0)]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
