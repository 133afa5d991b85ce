"""generated telemetry -> a table: what windows cost to fit and to score, by processor time.

    python -m benchmarks.windows

For each length of window and number of columns: a fit of the file, the same file scored on one
thread, records that come one by one with the history of many entities in memory, and the most
memory of each. Processor time, not the clock: who else uses the machine matters little then.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.results import write_section
from vaewatch.scoring.files.frames import checked_table
from vaewatch.scoring.scorer import Scorer
from vaewatch.scoring.table import Table

BIN = Path(sys.executable).parent
CASES = ((8, 20), (64, 1), (64, 20), (64, 100), (256, 20))  # records of a window, columns
ENTITIES = 10
ALONE, CALLS = 64, 300  # entities in memory; calls that are timed
STEP = 10  # seconds


@dataclass(frozen=True)
class Cost:
    """Processor seconds, and the most memory in MB, of a command."""

    seconds: float
    memory: float


def telemetry(records: int, columns: int, entities: int) -> pl.DataFrame:
    """Waves of several periods with noise, in order of time."""
    rng = np.random.default_rng(0)
    length = records // entities
    at, entity = np.divmod(np.arange(length * entities), entities)
    periods, shifts = rng.uniform(5, 30, columns), rng.uniform(0, 6, (entities, columns))
    values = np.sin(at[:, None] / periods + shifts[entity]) + 0.1 * rng.normal(
        size=(len(at), columns)
    )
    moments = np.datetime64("2026-01-01T00:00:00") + (STEP * at).astype("timedelta64[s]")
    names = np.array([f"m{i}" for i in range(entities)])
    numbers = {f"c{i}": values[:, i].round(4) for i in range(columns)}
    return pl.DataFrame(
        {"ts": np.datetime_as_string(moments), "machine": names[entity], **numbers}
    )


def command(*words: object) -> Cost:
    """Run a command on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [str(BIN / "vaewatch"), *map(str, words), "--quiet"], env=environment
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"vaewatch {words[0]} ended with {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def microseconds(scorer: Scorer, calls: list[Table]) -> float:
    """Return the processor time of a record, where each call brings records of full windows."""
    history = scorer.history()
    size = scorer.artifact.window.size if scorer.artifact.window else 1
    for table in calls[:size]:
        scorer.score_table(table, history=history)
    spent = []
    for table in calls[size:]:
        start = time.process_time()
        scorer.score_table(table, history=history)
        spent.append((time.process_time() - start) / len(table))
    return 1e6 * float(np.median(spent))


def one_by_one(artifact: Path, size: int, columns: int, entities: int) -> float:
    """Return the microseconds of a record where a call brings one record of each entity."""
    scorer = Scorer.load(artifact)
    frame = telemetry((size + CALLS) * entities, columns, entities)
    frame = frame.with_columns(pl.col(pl.Float64).cast(pl.Utf8))
    table = checked_table(scorer.artifact.schema, frame)
    rows = np.arange(len(table)).reshape(-1, entities)
    return microseconds(scorer, [table.take(own) for own in rows])


def line(folder: Path, records: int, size: int, columns: int) -> str:
    data, artifact, scores = folder / "t.csv", folder / "artifact", folder / "scores.csv"
    telemetry(records, columns, ENTITIES).write_csv(data)
    words = ("--time", "ts", "--entity", "machine", "--window", size, "--overwrite")
    fit = command("train", data, *words, "--out", artifact)
    scores.unlink(missing_ok=True)
    score = command("score", artifact, data, "--threads", 1, "--out", scores)
    alone = one_by_one(artifact, size, columns, 1)
    many = one_by_one(artifact, size, columns, ALONE)
    graph = (artifact / "network.onnx").stat().st_size / 2**20
    return (
        f"| {size} | {columns} | {fit.seconds:.0f} | {fit.memory:,.0f} "
        f"| {records / score.seconds:,.0f} | {score.memory:,.0f} | {alone:.0f} | {many:.0f} "
        f"| {graph:.1f} |"
    )


def run(records: int) -> None:
    lines = [
        f"{records:,} records of {ENTITIES} entities, the start of a command included.",
        "",
        "| W | columns | fit, s | at most MB | scored, records/s | at most MB "
        f"| one record a call, us | {ALONE} entities a call, us a record | graph, MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, columns in CASES:
        with tempfile.TemporaryDirectory() as name:
            lines.append(line(Path(name), records, size, columns))
        print(lines[-1], file=sys.stderr, flush=True)
    write_section(
        Path(__file__).with_name("RESULTS.md"), "Windows", "Cost of a window", "\n".join(lines)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="of the generated file")
    run(parser.parse_args().records)


if __name__ == "__main__":
    main()
