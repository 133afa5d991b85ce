"""`vaewatch recalibrate` and `vaewatch sample`: what becomes of an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scoring.command import out, save, setting

if TYPE_CHECKING:
    from training.recalibrate import Recalibrated


@click.command(epilog="Example:  vaewatch recalibrate artifact recent.csv --out artifact-2")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("normal", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", "target", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@setting("--alpha", type=float, help="False-alarm rate.  [default: the artifact's]")
@click.option("--overwrite", is_flag=True, help="Replace an artifact that is there.")
def recalibrate(
    artifact: Path, normal: tuple[Path, ...], target: Path, alpha: float | None, overwrite: bool
) -> None:
    """Calibrate an artifact again on newer normal records: same weights, no training.

    NORMAL: one or more CSV (also .gz) or Parquet files of records that it was not trained on, and
    normal ones only.
    """
    from training.data import read_frame
    from training.recalibrate import recalibrate as run

    _print_change(run(artifact, read_frame(normal), target, alpha=alpha, overwrite=overwrite))


def _print_change(done: Recalibrated) -> None:
    from scoring.layout import print_fact, print_table

    artifact, console = done.scorer.artifact, out()
    summary = artifact.manifest["calibration"]
    low, high = summary["rate_interval_95"]
    print_fact(console, "version", f"{artifact.version}, parent {artifact.manifest['parent']}")
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
        f"asked for {artifact.calibration.alpha:g}, {summary['n']:,} new calibration records: "
        f"the true rate lies in {low:.2g} to {high:.2g} (95 %)",
    )


@click.command(epilog="Example:  vaewatch sample artifact --n 100 --out drawn.csv")
@click.argument("artifact", type=click.Path(path_type=Path))
@setting("--n", type=click.IntRange(1), default=10, help="How many records.")
@click.option(
    "--out", "target", type=click.Path(path_type=Path), help="File to write.  [default: stdout]"
)
@setting(
    "--format",
    "form",
    type=click.Choice(["csv", "ndjson"]),
    help="[default: as the file is named, else csv]",
)
@setting("--seed", type=int, default=0, help="Same seed, same records.")
def sample(artifact: Path, n: int, target: Path | None, form: str | None, seed: int) -> None:
    """Draw records from the prior through the decoder: what the model holds for normal."""
    from training.sample import sample as draw

    frame = draw(artifact, n, seed)
    if form is None:
        form = "ndjson" if target and target.suffix in (".ndjson", ".jsonl") else "csv"
    text = frame.write_csv() if form == "csv" else frame.write_ndjson()
    if target is None:
        click.echo(text, nl=False)
    else:
        save(target, text.encode())
