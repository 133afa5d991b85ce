"""`vaewatch report`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaewatch.commands.options import normal_label, save, setting, sources, writing
from vaewatch.commands.terminal import out

if TYPE_CHECKING:
    from vaewatch.scoring.scorer import Scorer
    from vaewatch.training.report.labelled import Labelled

DRAWS = 64  # of the importance-weighted bound, the default of `vaewatch evaluate`
FILES = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="Example:  vaewatch report artifact --labelled labelled.csv --out report.html"
)
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option(
    "--labelled",
    multiple=True,
    metavar="FILE",
    callback=sources,
    help="Labelled records; repeat for more.",
)
@setting(
    "--label", metavar="COLUMN", help="Column of labels.  [default: the artifact's, else 'label']"
)
@normal_label()
@click.option(
    "--normal",
    multiple=True,
    metavar="FILE",
    callback=sources,
    help="The fit records, as given to train: peers are fitted to them; repeat for more.",
)
@click.option(
    "--out", "target", type=FILES, help="File to write.  [default: ARTIFACT-report.html, here]"
)
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def report(
    artifact: Path,
    labelled: tuple[str, ...],
    label: str | None,
    normal_labels: tuple[str, ...],
    normal: tuple[str, ...],
    target: Path | None,
    quiet: bool,
) -> None:
    """Rebuild the training report of an artifact, as one HTML file.

    With labelled records it also shows how well anomalies are found; with the fit records as well,
    it compares a plain autoencoder, PCA and an isolation forest. Both take files, folders, globs
    or URLs, as `vaewatch train` does. The artifact stays as it is.
    """
    from vaewatch.scoring.disk.reading import read_files
    from vaewatch.scoring.scorer import Scorer
    from vaewatch.training.ahead import check_files

    if normal and not labelled:
        raise click.UsageError("--normal must come with --labelled: peers are compared on labels.")
    target = target or Path(f"{artifact.resolve().name}-report.html")
    _check_target(target, artifact, (*labelled, *normal))
    scorer = Scorer.load(artifact)
    if labelled and scorer.artifact.window is not None:
        raise click.UsageError(
            "--labelled cannot be used with a window: vaewatch evaluate measures it on labels."
        )
    check_files((*labelled, *normal))
    from vaewatch.training.export.package import Package
    from vaewatch.training.report.make import make_report

    with writing(target):
        judged = (
            _judge(scorer, artifact, labelled, label, normal_labels, normal, quiet)
            if labelled
            else None
        )
        manifest = scorer.artifact.manifest
        page = make_report(Package(manifest, read_files(artifact, manifest)), judged)
        save(target, page)
    if not quiet:
        out().print(f"report        {target}  ({len(page) / 1e3:,.0f} kB)")


def _check_target(target: Path, artifact: Path, inputs: tuple[str, ...]) -> None:
    """Refuse a target whose writing would destroy an input or the artifact."""
    if artifact.resolve() in target.resolve().parents:
        raise click.UsageError(
            f"--out must be outside the artifact, which stays as it was written, got '{target}'."
        )
    if not os.access(target.absolute().parent, os.W_OK | os.X_OK):
        raise click.ClickException(f"'{target}' must be writable, but its folder is not.")
    for name in inputs:
        if Path(name).resolve() == target.resolve():
            raise click.UsageError(f"--out must be a file other than the input '{name}'.")


def _judge(
    scorer: Scorer,
    artifact: Path,
    labelled: tuple[str, ...],
    label: str | None,
    normal_labels: tuple[str, ...],
    normal: tuple[str, ...],
    quiet: bool,
) -> Labelled:
    from vaewatch.commands.progress import fit_progress
    from vaewatch.training.bounds import bounds_of_artifact
    from vaewatch.training.records.read import read_frame
    from vaewatch.training.report.labelled import judge

    with fit_progress(quiet) as shown:
        return judge(
            scorer,
            read_frame(labelled, schema=scorer.artifact.schema),
            label or scorer.artifact.schema.label or "label",
            normal_labels=normal_labels,
            normal=_read_normal(scorer, normal) if normal else None,
            bounds=bounds_of_artifact(artifact, DRAWS),
            progress=shown.progress,
        )


def _read_normal(scorer: Scorer, normal: tuple[str, ...]) -> Any:
    """Read the fit records as training did: of too many, the same sample."""
    from vaewatch.training.records.read import read_sample
    from vaewatch.training.records.sample import Reading

    training, schema = scorer.artifact.manifest.training, scorer.artifact.schema
    apart = filter(None, (training.id, training.label, *training.ignore))
    reading = Reading(nulls=training.nulls, keep=frozenset([*schema.inputs, *apart]))
    return read_sample(normal, training.max_records, training.seed, reading).frame
