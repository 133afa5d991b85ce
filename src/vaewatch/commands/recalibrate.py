"""`vaewatch recalibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaewatch.commands.options import setting, sources
from vaewatch.commands.terminal import out

if TYPE_CHECKING:
    from vaewatch.training.recalibrate import Recalibrated


@click.command(epilog="Example:  vaewatch recalibrate artifact recent.csv --out artifact-2")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("normal", nargs=-1, required=True, callback=sources)
@click.option(
    "--out", "target", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@setting("--alpha", type=float, help="False-alarm rate.  [default: the artifact's]")
@click.option("--overwrite", is_flag=True, help="Replace an artifact that is there.")
def recalibrate(
    artifact: Path, normal: tuple[str, ...], target: Path, alpha: float | None, overwrite: bool
) -> None:
    """Calibrate an artifact again on newer normal records: same weights, no training.

    NORMAL: records that it was not trained on, and normal ones only. CSV, NDJSON (both also .gz,
    .zst) or Parquet: files, folders, globs, s3://, gs:// and abfs:// URLs, or - for standard
    input.
    """
    from vaewatch.scoring.calibration import check_rate

    if alpha is not None:
        check_rate(alpha)  # before torch is imported and a file is read
    from vaewatch.training.recalibrate import recalibrate as run
    from vaewatch.training.records.read import read_frame

    _print_change(run(artifact, read_frame(normal), target, alpha=alpha, overwrite=overwrite))


def _print_change(done: Recalibrated) -> None:
    from vaewatch.commands.terminal import print_fact, print_table

    artifact, console = done.scorer.artifact, out()
    summary = artifact.manifest.calibration
    low, high = summary.rate_interval_95
    print_fact(console, "version", f"{artifact.version}, parent {artifact.manifest.parent}")
    rows = [
        (name, f"{old:.4g}", f"{new:.4g}")
        for name, old, new in (
            ("old scores", done.before.on_old, done.after.on_old),
            ("new normals", done.before.on_new, done.after.on_new),
        )
    ]
    print_table(console, ("alarm rate", "old calibration", "new calibration"), rows)
    print_fact(
        console,
        "alarm budget",
        f"asked for {artifact.calibration.alpha:g}, {summary.n:,} new calibration records: "
        f"the true rate lies in {low:.2g} to {high:.2g} (95 %)",
    )
