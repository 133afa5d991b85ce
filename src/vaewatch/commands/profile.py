"""`vaewatch profile`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaewatch.commands.options import reading_options, setting, sources
from vaewatch.commands.terminal import out, show_warnings, visible
from vaewatch.training.config import TrainConfig

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console

    from vaewatch.training.records.profile import ColumnProfile

MOST = 40  # columns that `train` shows


@click.command(epilog="Example:  vaewatch profile normal.csv --id order")
@click.argument("data", nargs=-1, required=True, callback=sources)
@reading_options()
@setting(
    "--max-records",
    type=int,
    help="Records to read; of more, a uniform sample.  [default: 250000, or all with a window]",
)
@setting(
    "--window", metavar="N|auto", help="As train takes it: show what series the records make."
)
@setting("--gap", metavar="SPAN", help="With --window: after a longer pause a series begins anew.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def profile(
    data: tuple[str, ...],
    delimiter: str | None,
    rejects: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Show how the columns of a file would be read, before a fit.

    It takes the options of `vaewatch train` that say how to read, and shows what these make of
    each column: its kind, how much is missing or rare, and what in it looks odd. A column that
    `vaewatch train` would refuse is shown with the reason.

    DATA: CSV, NDJSON, JSON (all also .gz, .zst) or Parquet with the same columns: files, folders,
    globs, s3://, gs:// and abfs:// URLs, or - for standard input.
    """
    if settings.get("entity") and not settings.get("time") and settings.get("window") is None:
        settings["window"] = 1  # without a time there are no series to show
    config = TrainConfig.of(settings)
    from vaewatch.training.records.profile import profile_frame
    from vaewatch.training.records.read import read_sample
    from vaewatch.training.records.remarks.columns import of_records
    from vaewatch.training.records.sample import Reading

    show_warnings()
    reading = Reading(delimiter, config.nulls, config.named, Path(rejects) if rejects else None)
    most = None if config.windowed else config.max_records  # as train reads them
    sample = read_sample(data, most, config.seed, reading)
    sample.write_rejects(reading.rejects)
    columns = profile_frame(sample.frame, config.taking_for_texts(sample.texts))
    carried = sample.frame.drop(column.name for column in columns if column.name in sample.frame)
    said = [f"{remark.word}: {remark.text}" for remark in of_records(carried, config.id)]
    if as_json:
        shown = {"records": sample.total, "columns": [asdict(column) for column in columns]}
        shown |= {"warnings": said} if said else {}
        return click.echo(json.dumps(shown, indent=1, ensure_ascii=False))
    console = out()
    console.print(f"{sample.total:,} records, {len(columns)} columns to learn")
    print_columns(console, columns, len(columns))
    if config.windowed:
        console.print(_series(sample.frame, config.taking_for_texts(sample.texts)))
    for column in columns:
        for warning in column.warnings:
            console.print(f"{column.name}: {warning}")
    for text in said:
        console.print(visible(text))


def _series(frame: pl.DataFrame, config: TrainConfig) -> str:
    """Say what the records are as series, or why they are none."""
    from vaewatch.scoring.errors import ScoringError
    from vaewatch.training.series.records import described

    try:
        return f"series: {described(frame, config)}"
    except ScoringError as error:
        return f"series: refused: {error}"


def print_columns(console: Console, columns: Sequence[ColumnProfile], most: int = MOST) -> None:
    """Print a line for each column, and `most` at the most."""
    from vaewatch.commands.terminal import print_table

    head = ("column", "kind", "missing", "rare", "distinct", "values", "note")
    print_table(console, head, [_row(column) for column in columns[:most]], right=(2, 3, 4))
    if len(columns) > most:
        console.print(f"and {len(columns) - most:,} more: vaewatch profile shows all")


def _row(column: ColumnProfile) -> tuple[str, ...]:
    return (
        column.name,
        column.kind,
        _share(column.missing),
        _share(column.rare),
        "many" if column.distinct is None else f"{column.distinct:,}",
        column.values,
        ", ".join(warning.partition(":")[0] for warning in column.warnings),
    )


def _share(share: float) -> str:
    """Return a share in per cent, or nothing of 0; a small one is not rounded to it."""
    return "" if share == 0 else f"{share:.1%}" if share >= 0.001 else "<0.1%"
