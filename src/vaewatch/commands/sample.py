"""`vaewatch sample`."""

from __future__ import annotations

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
    "--format",
    "form",
    type=click.Choice(["csv", "ndjson"]),
    help="[default: as the file is named, else csv]",
)
@setting("--seed", type=int, default=0, help="Same seed, same records.")
def sample(artifact: Path, n: int, target: Path | None, form: str | None, seed: int) -> None:
    """Draw records from the prior through the decoder: what the model takes for normal.

    Of an artifact with a window it draws whole windows: each is an entity of its own, in order of
    time.
    """
    whole_number("seed", seed, least=0)  # before torch is imported
    from vaewatch.scoring.disk.reading import read_manifest
    from vaewatch.training.ahead import check_output

    check_output(target)
    read_manifest(artifact)
    from vaewatch.training.sample import sample as draw

    frame = draw(artifact, n, seed)
    if form is None:
        form = "ndjson" if target and target.suffix in (".ndjson", ".jsonl") else "csv"
    text = frame.write_csv() if form == "csv" else frame.write_ndjson()
    if target is None:
        click.echo(text, nl=False)
    else:
        save(target, text.encode())
