"""`vaewatch train`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaewatch.commands.options import (
    config_file,
    feedback,
    keep,
    reading_options,
    setting,
    sources,
)
from vaewatch.commands.parameters import Share
from vaewatch.commands.terminal import INTERRUPTED, err, out, show_warnings
from vaewatch.threads import cores
from vaewatch.training.config import TrainConfig

if TYPE_CHECKING:
    from vaewatch.scoring.scorer import Scorer
    from vaewatch.scoring.time.time import Time
    from vaewatch.training.records.profile import ColumnProfile


@click.command(
    epilog="Example:  vaewatch train normal.csv --out artifact --alpha 0.001 --id order",
)
@click.argument("data", nargs=-1, required=True, callback=sources)
@click.option(
    "--out", "target", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@config_file()
@setting(
    "--alpha", type=Share(), default=TrainConfig.alpha, help="False-alarm rate to calibrate for."
)
@reading_options()
@setting(
    "--calibrate",
    type=click.Choice(["all", "recent", "entities"]),
    default=TrainConfig.calibrate,
    help="recent: hold out the latest records and calibrate on them; with --time. entities: hold "
    "out whole entities, so that alpha holds for those that the fit never saw; with --entity.",
)
@setting(
    "--window",
    metavar="N|auto",
    help="Judge a record with those before it, N in all; with --time.  [default: auto with "
    "--entity, else 1]",
)
@setting(
    "--gap",
    metavar="SPAN",
    help="Longest pause within a window, such as 90s or 5m.  [default: as suits the steps]",
)
@setting(
    "--incidents-per-day",
    type=float,
    help="Choose alpha to give this many false incidents per entity and day; with --window.",
)
@setting(
    "--model",
    type=click.Choice(["vae", "ae"]),
    default=TrainConfig.model,
    help="ae: a plain autoencoder.",
)
@setting(
    "--score",
    type=click.Choice(["full", "reconstruction"]),
    default=TrainConfig.score,
    help="All parts of the score, or one alone.",
)
@setting("--beta", type=float, default=TrainConfig.beta, help="Weight of the KL in the objective.")
@setting("--members", type=int, default=TrainConfig.members, help="VAEs trained side by side.")
@setting(
    "--served",
    type=int,
    help="Members that score.  [default: 4, or 2 with more than 24 features]",
)
@setting("--width", type=int, default=TrainConfig.width, help="Hidden units per layer.")
@setting("--latent", type=int, help="Latent dimensions.  [default: half the features]")
@setting("--steps", type=int, default=TrainConfig.steps, help="Optimiser steps.")
@setting(
    "--batch", type=int, default=TrainConfig.batch, help="Records that a member sees in a step."
)
@setting(
    "--learning-rate",
    type=float,
    default=TrainConfig.learning_rate,
    help="Peak learning rate of AdamW; it warms up, then falls to 0.",
)
@setting(
    "--max-records",
    type=int,
    help="Records to read; of more, a uniform sample, or the newest with a window.  [default: "
    "250000, or all with a window]",
)
@setting(
    "--neighbours",
    type=int,
    help="Fit records to keep for the neighbour part; 0: none.  [default: 4000, or 1000 with more "
    "than 24 features]",
)
@setting(
    "--contamination-robust",
    is_flag=True,
    help="Fit twice, the second time without the records that score far out in the first.",
)
@feedback(
    "CSV of vaewatch feedback export: confirmed incidents are left out, and what each part of the "
    "score weighs is learned."
)
@setting("--device", default=TrainConfig.device, help="auto, cpu, cuda or cuda:N.")
@setting(
    "--threads",
    type=int,
    default=TrainConfig.threads,
    help="Threads to compute on; more pay off on an idle machine, with hundreds of features.",
)
@setting(
    "--seed", type=int, default=TrainConfig.seed, help="Same seed, same machine: same artifact."
)
@click.option(
    "--from",
    "continue_from",
    metavar="ARTIFACT",
    type=click.Path(path_type=Path),
    help="Continue the fit of this artifact, with its settings, in a third of the steps. DATA: "
    "the new records, and those of its own that are still normal.",
)
@click.option("--overwrite", is_flag=True, help="Replace an artifact that is there.")
@keep()
@click.option("--resume", is_flag=True, help="Continue a killed run from its checkpoint.")
@setting("--no-report", is_flag=True, help="Write no report.html, nor what it is made from.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def train(
    data: tuple[str, ...],
    target: Path,
    continue_from: Path | None,
    overwrite: bool,
    keep: int,
    resume: bool,
    no_report: bool,
    quiet: bool,
    delimiter: str | None,
    rejects: str | None,
    feedback: Path | None,
    **settings: Any,
) -> None:
    """Fit, calibrate and export an artifact from normal records.

    DATA: CSV, NDJSON, JSON (all also .gz, .zst) or Parquet with the same columns: files, folders,
    globs, s3://, gs:// and abfs:// URLs, or - for standard input.
    """
    if continue_from:
        settings = _given(settings)
    # what is wrong is refused before torch is imported
    config = TrainConfig.of(settings, continues=continue_from is not None)
    here = cores()
    if config.threads > here:
        settings["threads"] = here
        if not quiet:
            err().print(_fewer(config.threads, here))
    from vaewatch.scoring.imports import without_garbage

    with without_garbage():
        from vaewatch.training.ahead import (
            check_ahead,
            check_feedback,
            check_output,
            checkpoint_of,
        )

    check_output(rejects)
    check_feedback(feedback)
    check_ahead(data, target, config, delimiter, overwrite=overwrite, continue_from=continue_from)
    if not quiet and not resume and checkpoint_of(target).exists():
        err().print(_left_behind(checkpoint_of(target)))
    with without_garbage():
        from vaewatch.commands.profile import print_columns
        from vaewatch.commands.progress import fit_progress
        from vaewatch.training.train import train as run
        from vaewatch.training.vae.parallel import rank

    quiet = quiet or rank() > 0  # under torchrun, one process speaks
    show_warnings(mute=rank() > 0)
    with _resumable(target), fit_progress(quiet) as shown:

        def show_columns(columns: Sequence[ColumnProfile]) -> None:
            with shown.hidden():
                print_columns(out(), columns)

        scorer = run(
            data,
            target,
            overwrite=overwrite,
            keep=keep,
            resume=resume,
            report=not no_report,
            continue_from=continue_from,
            progress=shown.progress,
            delimiter=delimiter,
            rejects=rejects,
            feedback=feedback,
            show_columns=None if quiet else show_columns,
            **settings,
        )
    if not quiet:
        _print_trained(scorer, target)


@contextmanager
def _resumable(target: Path) -> Iterator[None]:
    """Say on Ctrl-C how to go on, where a checkpoint is left."""
    from vaewatch.training.ahead import checkpoint_of

    try:
        yield
    except KeyboardInterrupt:
        if not (checkpoint := checkpoint_of(target)).exists():
            raise
        err().print(
            "error: interrupted. Give the same command with --resume to go on, or delete "
            f"'{checkpoint}'."
        )
        sys.exit(INTERRUPTED)


def _left_behind(checkpoint: Path) -> str:
    return (
        f"note: a run that was killed left {checkpoint}. It is ignored, and replaced by this run; "
        "to go on from it, give the same command with --resume."
    )


def _fewer(asked: int, here: int) -> str:
    return (
        f"note: --threads {asked} is more than the {here} cores that this process may use: it "
        f"takes {here}, as more would wait for one another."
    )


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that somebody chose, without those that are as this command has them."""
    source = click.get_current_context().get_parameter_source
    return {
        name: value
        for name, value in settings.items()
        if source(name) is not click.core.ParameterSource.DEFAULT
    }


def _print_trained(scorer: Scorer, target: Path) -> None:
    from vaewatch.batch.added import added_types
    from vaewatch.commands.tables.budget import print_budget
    from vaewatch.commands.tables.feedback import print_feedback
    from vaewatch.commands.tables.series import print_series
    from vaewatch.commands.terminal import print_fact
    from vaewatch.scoring.artifact import REPORT

    manifest, console = scorer.artifact.manifest, out()
    metrics = manifest.metrics
    print_fact(console, "artifact", f"{target}  (version {manifest.version})")
    given = manifest.records_given
    of = f" of {given:,}" if given > metrics.fit_records + metrics.trimmed_records else ""
    print_fact(
        console,
        "fit",
        f"{metrics.fit_records:,}{of} records, {len(manifest.schema.columns)} columns, "
        f"{metrics.features} features, {manifest.run.fit_seconds:.1f} s",
    )
    if manifest.schema.time:
        print_fact(console, "time", _time(manifest.schema.time))
    print_series(console, manifest)
    if manifest.parent:
        own = f"{manifest.parent_records:,}" if manifest.parent_records else "none"
        print_fact(
            console, "continues", f"{manifest.parent}, {own} of whose records are among these"
        )
    print_feedback(console, manifest.feedback)
    if metrics.trimmed_records:
        trimmed = f"{metrics.trimmed_records:,} records far out, which were not fitted to"
        print_fact(console, "trimmed", trimmed)
    print_budget(scorer)
    if REPORT in manifest.sha256:
        print_fact(console, "report", str(target / REPORT))
    taken = sorted({*manifest.schema.names} & {*added_types(manifest.schema, "", explained=True)})
    prefix = " --prefix vaewatch_" if taken else ""
    if taken:
        text = (
            f"scoring adds columns of the same name as {', '.join(taken)}: give its own a prefix"
        )
        print_fact(console, "names", text)
    print_fact(console, "next", f"vaewatch score {target} new.csv --out scored.csv{prefix}")


def _time(time: Time) -> str:
    learned = " and ".join(time.calendar)
    are = "are" if len(time.calendar) > 1 else "is"
    said = (
        f"its {learned} {are} learned, in {time.zone}" if learned else "nothing of it is learned"
    )
    return f"{time.column}, {time.first} to {time.last}; {said}"
