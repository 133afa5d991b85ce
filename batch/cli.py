"""`vaewatch score`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scoring.command import config_file, err, setting

if TYPE_CHECKING:
    from batch.pipeline import Counts, Job

BROKEN_PIPE = 141  # what a shell gives for a program that SIGPIPE ended


def _cores() -> int:
    return (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )


@click.command(
    epilog="Example:  vaewatch score artifact new.csv --out scored.csv --rejects rejects.csv",
)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("source", metavar="INPUT", default="-")
@click.option(
    "--out", default="-", metavar="FILE", help="Where to write; - is stdout.  [default: -]"
)
@config_file()
@setting("--rejects", metavar="FILE", help="Set bad rows aside here instead of stopping at one.")
@setting("--alpha", type=float, help="False-alarm rate.  [default: the artifact's]")
@setting(
    "--explain",
    type=click.IntRange(0),
    metavar="K",
    help="Reasons for each record.  [default: 3 for each anomaly]",
)
@setting("--delimiter", metavar="CHAR", help="Between CSV fields.  [default: found in the header]")
@setting("--threads", type=click.IntRange(1), help="Cores to use.  [default: all]")
@click.option("--quiet", is_flag=True, help="No counts.")
def score(
    artifact: Path,
    source: str,
    out: str,
    rejects: str | None,
    alpha: float | None,
    explain: int | None,
    delimiter: str | None,
    threads: int | None,
    quiet: bool,
) -> None:
    """Score a file of records.

    INPUT: a CSV file (also .gz), or - for standard input. Its columns come back as they are, with
    anomaly_score, p_value, severity, is_anomaly, top_reasons and model_version after them.
    """
    threads = threads or _cores()
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    from batch.pipeline import Job

    _check_targets(source, out, rejects)
    job = Job(source, out, rejects, delimiter, alpha, explain, threads)
    counts = _run(artifact, job)
    if not quiet:
        _print_counts(counts, job)


def _check_targets(source: str, out: str, rejects: str | None) -> None:
    """Writing must destroy neither the input nor itself."""
    files = [("INPUT", source), ("--out", out), ("--rejects", rejects)]
    named = [(name, Path(path).resolve()) for name, path in files if path not in (None, "-")]
    for i, (name, path) in enumerate(named):
        for other, same in named[:i]:
            if path == same and not path.is_char_device():
                raise click.UsageError(f"{name} must be another file than {other}, got '{path}'.")


def _run(artifact: Path, job: Job) -> Counts:
    from batch.errors import OutputError
    from batch.pipeline import run
    from scoring.scorer import Scorer

    try:
        return run(Scorer.load(artifact), job)
    except OutputError as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:
        # who reads has gone: say nothing, and keep Python from trying to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)


def _print_counts(counts: Counts, job: Job) -> None:
    rate = counts.anomalies / counts.scored if counts.scored else 0.0
    rejected = f", {counts.rejected:,} rejected" if counts.rejected else ""
    where = f" (see {job.rejects})" if counts.rejected else ""
    err().print(
        f"scored {counts.scored:,} records: {counts.anomalies:,} anomalies ({rate:.2%})"
        f"{rejected}{where}"
    )
