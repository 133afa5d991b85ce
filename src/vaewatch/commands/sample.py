"""`vaewatch sample`."""

from __future__ import annotations

import io
from pathlib import Path

import click

from vaewatch.commands.options import save, setting
from vaewatch.training.settings.checks import whole_number


@click.command(epilog="Example:  vaewatch sample artifact --n 100 --out drawn.csv")
@click.argument("artifact", type=click.Path(path_type=Path))
@setting(
    "--n",
    type=click.IntRange(1),
    default=10,
    help="How many records, or windows.",
)
@click.option(
    "--out", "target", type=click.Path(path_type=Path), help="File to write.  [default: stdout]"
)
@setting(
    "--to",
    type=click.Choice(["csv", "parquet", "ndjson"]),
    help="[default: as the file is named, else csv]",
)
@setting("--seed", type=int, default=0, help="Same seed, same records.")
def sample(artifact: Path, n: int, target: Path | None, to: str | None, seed: int) -> None:
    """Draw records from the prior through the decoder: what the VAE has learned of the columns.

    A category for which the network has no indicator of its own is drawn by how often it came.
    They may break sums and exclusions that all fit records keep, and alarm: they are no normal
    records to measure or to calibrate with.

    Of an artifact with a window it draws whole windows: each is an entity of its own, in order of
    time.
    """
    whole_number("seed", seed, least=0)  # before torch is imported
    from vaewatch.scoring.disk.reading import read_manifest
    from vaewatch.scoring.files.packing import pack, packing_of
    from vaewatch.scoring.files.source import format_to_write
    from vaewatch.training.ahead import check_output

    check_output(target)
    name = "" if target is None else str(target)
    to = to or format_to_write(name) or "csv"
    read_manifest(artifact)
    from vaewatch.training.sample import sample as draw

    frame, data = draw(artifact, n, seed), io.BytesIO()
    if to == "csv":
        frame.write_csv(data)
    elif to == "parquet":
        frame.write_parquet(data)
    else:
        frame.write_ndjson(data)
    if target is None:
        click.echo(data.getvalue(), nl=False)
    else:
        save(target, pack(data.getvalue(), packing_of(name)))
