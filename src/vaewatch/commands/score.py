"""`vaewatch score`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaewatch.commands.options import (
    config_file,
    delimiter,
    merge_gap,
    names,
    printable,
    rejects,
    setting,
    shard,
    share,
    sources,
    target,
)
from vaewatch.commands.parameters import Share
from vaewatch.commands.terminal import INTERRUPTED, err, show_warnings
from vaewatch.threads import cores, products_on_one_thread

if TYPE_CHECKING:
    from vaewatch.batch.job import Job
    from vaewatch.batch.stage import Engine
    from vaewatch.batch.summary import Summary
    from vaewatch.batch.workers import Team

TOO_MANY = 5
STREAM = "-"
LONG = 8 << 20  # bytes of input that take longer than a process takes to start


@click.command(
    epilog="Example:  vaewatch score artifact 'new/*.csv.gz' --out scored.csv --rejects bad.csv",
)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("sources", metavar="INPUT...", nargs=-1, callback=sources)
@click.option(
    "--out",
    default=STREAM,
    metavar="FILE",
    callback=target,
    help="Where to write.  [default: stdout]",
)
@config_file()
@rejects()
@setting("--summary", metavar="FILE", callback=target, help="Counts, as JSON.")
@setting(
    "--drafts",
    default=".",
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False),
    help="Local folder for an output at a URL until it is uploaded.",
)
@setting(
    "--to",
    type=click.Choice(["csv", "parquet", "ndjson"]),
    help="Format of the output.  [default: as --out is named, else as the input]",
)
@setting("--columns", metavar="A,B,...", callback=names, help="Keep only these of the input.")
@setting("--only-anomalies", is_flag=True, help="Write no normal records.")
@setting("--alpha", type=Share(), help="False-alarm rate.  [default: the artifact's]")
@setting(
    "--fdr",
    type=Share(),
    metavar="Q",
    help="Instead of --alpha: on average at most a share Q of the anomalies is false. Reads the "
    "input twice.",
)
@setting(
    "--explain",
    type=click.IntRange(0),
    metavar="K",
    help="Up to K reasons for every record, and its score's parts; 0 for no reasons at all, which "
    "is faster where many records alarm.",
)
@setting(
    "--prefix",
    callback=printable,
    default="",
    metavar="TEXT",
    help="Prefix for the names of the added columns, for an input that already has them.",
)
@setting(
    "--incidents",
    metavar="FILE",
    callback=target,
    help="Write the incidents, alarms that belong together, as .ndjson, .csv or .parquet.",
)
@merge_gap()
@delimiter()
@setting("--threads", type=click.IntRange(1), help="Cores to use.  [default: all]")
@setting(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="ray: --threads actors in the cluster of RAY_ADDRESS, or in a local one.",
)
@setting(
    "--shard",
    metavar="I/N",
    callback=shard,
    help="Only every N-th file, from the I-th on; with a window every N-th entity, of all files.",
)
@setting(
    "--sort",
    is_flag=True,
    help="With a window: put the records in order of entity and time first, in memory.",
)
@setting(
    "--max-entities",
    type=click.IntRange(1),
    default=10_000,
    metavar="N",
    help="With a window: most entities whose last records are kept at a time.",
)
@click.option("--resume", is_flag=True, help="Continue a job that was stopped or killed.")
@setting(
    "--fail-above",
    type=Share(),
    callback=share,
    metavar="RATE",
    help="Exit with 5 if a larger share are anomalies.",
)
@setting(
    "--metrics-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Metrics for Prometheus.",
)
@setting("--pushgateway", metavar="URL", help="A Pushgateway for the same metrics.")
@setting(
    "--progress",
    type=click.Choice(["auto", "bar", "lines", "json", "none"]),
    default="auto",
    help="auto: a bar on a terminal.",
)
@click.option("--quiet", is_flag=True, help="No progress, no counts.")
def score(artifact: Path, sources: tuple[str, ...], **settings: Any) -> None:
    """Score files of records.

    INPUT: CSV, NDJSON, JSON (all also .gz, .zst) or Parquet: files, folders, globs, s3://, gs://
    and abfs:// URLs, or - for standard input. All of their columns come back as they are, followed
    by anomaly_score, p_value, severity, is_anomaly, top_reasons and model_version; with --explain
    also by the score's parts. An artifact with a window takes the records of each entity in order
    of time, and adds a column history.
    """
    threads = settings.pop("threads") or cores()
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    products_on_one_thread()
    show_warnings()
    with _team(sources, threads, settings) as team:
        job = _job(sources or (STREAM,), threads, settings)
        with _exits(job):
            with _locked(settings):
                summary = _run(artifact, job, team, settings)
            _report(summary, settings)


def _locked(settings: dict[str, Any]) -> AbstractContextManager[None]:
    """Hold the locks of the small files that are written at the end of the job."""
    from vaewatch.batch.writer import locked
    from vaewatch.scoring.files.remote import is_url

    small = (settings["summary"], settings["metrics_file"])
    return locked(*(str(name) for name in small if name is not None and not is_url(str(name))))


def _team(sources: tuple[str, ...], cores: int, settings: dict[str, Any]) -> Team:
    """For a long input, start the processes now, so that they load while this one does."""
    from vaewatch.batch.workers import Team, bytes_of

    team = Team(cores)
    if settings["engine"] == "local":
        _, shards = settings["shard"] or (0, 1)
        team.start(bytes_of(sources) // shards // LONG)
    return team


def _job(sources: tuple[str, ...], threads: int, settings: dict[str, Any]) -> Job:
    from vaewatch.batch.job import Job
    from vaewatch.scoring.files.source import expand

    files = settings["files"] = expand(sources)
    if settings["shard"] is not None:
        i, n = settings["shard"]
        files = files[i::n]
    named = {name: settings[name] for name in Job.__dataclass_fields__ if name in settings}
    _check_targets(files, settings)
    return Job(sources=files, threads=threads, **named)


def _check_targets(files: tuple[str, ...], settings: dict[str, Any]) -> None:
    """Refuse an output that would overwrite an input or another output."""
    taken = {Path(name).resolve(): f"the input '{name}'" for name in files if name != STREAM}
    for name in ("out", "rejects", "incidents", "summary", "metrics_file"):
        if settings[name] in (None, STREAM):
            continue
        option, path = f"--{name.replace('_', '-')}", Path(settings[name]).resolve()
        if path in taken and not path.is_char_device():
            raise click.UsageError(f"{option} must be a file other than {taken[path]}.")
        taken[path] = option


@contextmanager
def _exits(job: Job) -> Iterator[None]:
    """Turn an early end of the job into an exit code and a sentence."""
    from vaewatch.scoring.errors import OutputError

    try:
        yield
    except OutputError as error:
        raise click.ClickException(f"{error}{_what_next(job)}") from error
    except KeyboardInterrupt:
        err().print(f"\nerror: interrupted.{_what_next(job) or ' No output was written.'}")
        sys.exit(INTERRUPTED)


def _what_next(job: Job) -> str:
    """What to do with the draft or the journal of a job that ended early."""
    from vaewatch.batch.journal import journal_of, left_by
    from vaewatch.batch.writer import draft_of

    draft, journal = draft_of(job.out, job.drafts), journal_of(job)
    if draft is not None and draft.exists():
        left = ", ".join(f"'{path}'" for path in left_by(job))
        return f" Run again with --resume to go on, or delete {left}."
    if journal is not None and journal.exists():
        return " Run again with --resume to do only what is left."
    return ""


def _run(artifact: Path, job: Job, team: Team, settings: dict[str, Any]) -> Summary:
    from vaewatch.batch.job import Counts
    from vaewatch.batch.pipeline import Done, run_with, scored
    from vaewatch.batch.summary import Summary
    from vaewatch.commands.progress import job_progress
    from vaewatch.scoring.budget.calibration import check_alpha
    from vaewatch.scoring.scorer import Scorer

    scorer, began = Scorer.load(artifact), time.perf_counter()
    if job.alpha is not None:  # before anything is written
        check_alpha(job.alpha, scorer.artifact.calibration.n)
    if scorer.artifact.window is not None and job.shard is not None:
        job = replace(job, sources=settings["files"], entities=job.shard)
        _check_targets(job.sources, settings)

    def summed_up(done: Done) -> Summary:
        seconds = time.perf_counter() - began
        summary = Summary(scorer.artifact, job, done.counts, done.earlier, seconds, done.found)
        _publish(summary, settings)
        return summary

    if not job.sources:  # a shard without a file has a summary and metrics all the same
        i, n = settings["shard"]
        err().print(f"shard {i}/{n} has no file: nothing to do.")
        return summed_up(Done(Counts(), Counts()))
    engine: Engine = partial(run_with, team)
    if settings["engine"] == "ray":
        from vaewatch.batch.ray import run_on_ray as engine
    style = "none" if settings["quiet"] else settings["progress"]
    with job_progress(style) as progress, scored(scorer, job, progress, engine) as done:
        return summed_up(done)


def _publish(summary: Summary, settings: dict[str, Any]) -> None:
    """Write the summary and the metrics of the job."""
    from vaewatch.batch.summary import write_summary

    if settings["summary"] is not None:
        write_summary(summary, settings["summary"])
    if settings["metrics_file"] is not None:
        from vaewatch.batch.metrics import write_metrics

        write_metrics(summary, settings["metrics_file"])
    if settings["pushgateway"] is not None:
        from vaewatch.batch.metrics import push_metrics

        push_metrics(summary, settings["pushgateway"])


def _report(summary: Summary, settings: dict[str, Any]) -> None:
    from vaewatch.commands.tables.job import print_job

    if summary.job.sources and not settings["quiet"]:
        print_job(summary, counts_only=settings["progress"] == "json")
    limit, rate = settings["fail_above"], summary.counts.anomaly_rate
    if limit is not None and rate > limit:
        err().print(f"error: {rate:.3%} of the records are anomalies, more than {limit:.3%}.")
        sys.exit(TOO_MANY)
