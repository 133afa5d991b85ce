"""`vaewatch inspect`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaewatch.commands.terminal import out

if TYPE_CHECKING:
    from vaewatch.scoring.budget.summary import CalibrationSummary
    from vaewatch.scoring.manifest import Manifest
    from vaewatch.scoring.schema import Column


@click.command(epilog="Example:  vaewatch inspect artifact --verify")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Also check every hash and the golden records.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
def inspect(artifact: Path, verify: bool, as_json: bool) -> None:
    """Show what an artifact holds."""
    from vaewatch.scoring.disk.reading import read_manifest, read_manifest_bytes
    from vaewatch.scoring.scorer import Scorer

    manifest = read_manifest(artifact)
    if verify:
        Scorer.load(artifact)
    if as_json:
        as_written = json.loads(read_manifest_bytes(artifact))  # with keys of a later release
        click.echo(json.dumps(as_written, indent=1, ensure_ascii=False))
    else:
        _print_card(manifest, verify)


def _print_card(manifest: Manifest, verified: bool) -> None:
    from vaewatch.commands.tables.segments import print_segments
    from vaewatch.commands.terminal import print_fact, print_table

    console = out()
    for name, text in _facts(manifest):
        print_fact(console, name, text, 13)
    rows = [
        (column.name, column.kind, "yes" if column.required else "no", _values(column))
        for column in manifest.schema.columns
    ]
    print_table(console, ("column", "kind", "required", "range or categories"), rows)
    print_segments(console, manifest)
    if verified:
        print_fact(console, "verified", "format, hashes, golden records", 13)


def _facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    from vaewatch.commands.tables.feedback import feedback_facts
    from vaewatch.commands.tables.series import series_facts, worth
    from vaewatch.scoring.artifact import REPORT
    from vaewatch.scoring.budget.in_words import words
    from vaewatch.scoring.features.between.in_words import facts_of, names_in_words

    calibration = manifest.calibration
    low, high = calibration.rate_interval_95
    made = f"version {manifest.version}, made {manifest.created_at}"
    yield "name", f"{manifest.name}, {made}"
    records = f"{manifest.metrics.fit_records:,} records"
    yield "fit", f"{records} of data {manifest.data_fingerprint[:12]}"
    yield (
        "calibration",
        f"{calibration.n:,} records, {calibration.rule}{worth(manifest)}; alpha "
        f"{manifest.alpha:g}: true rate in {low:.2g} to {high:.2g} (95%)",
    )
    if calibration.segments:
        own = sum(each.rate_interval_95 is not None for each in calibration.segments)
        yield (
            "segment",
            f"column '{manifest.schema.segment}': {own:,} of {len(calibration.segments):,} "
            "segments have a calibration of their own",
        )
    yield from _limits(calibration, manifest.alpha)
    if time := manifest.schema.time:
        yield "time", f"{time.column}, {time.first} to {time.last}, calendar in {time.zone}"
    state = manifest.vectorizer
    yield from names_in_words(manifest.schema, state.shared)
    yield from facts_of(state.relations, state.exclusions, state.lookups)
    yield from series_facts(manifest)
    if manifest.outlook:
        yield "over time", words(manifest.outlook, windows=manifest.window is not None)[1]
    yield from feedback_facts(manifest.feedback)
    if manifest.parent:
        same = bool(manifest.calibration_fingerprint)
        how = "which has the same weights" if same else "whose fit this one continues"
        yield "parent", f"{manifest.parent}, {how}"
    thresholds = [
        f"{alpha}: {'n/a' if t is None else f'{t:.4g}'}"
        for alpha, t in calibration.thresholds.items()
    ]
    yield "thresholds", ", ".join(thresholds)
    yield "libraries", ", ".join(f"{k} {v}" for k, v in manifest.libraries.items())
    if REPORT in manifest.sha256:
        yield "report", f"{REPORT}, which shows what was learned"


def _limits(calibration: CalibrationSummary, alpha: float) -> Iterator[tuple[str, str]]:
    """Say what keeps the budget from what was asked for, or anomalies from alarms."""
    from vaewatch.scoring.budget.described import words_of_passing

    if calibration.reachable:
        rate, above = calibration.reachable
        yield "ties", f"the rates that can be reached next to alpha are {rate:.2g} and {above:.2g}"
    if calibration.tail:
        columns = ", ".join(f"{name} ({share:.0%})" for name, share in calibration.tail.items())
        yield "tail", f"the highest scores of normal records come from rare values in {columns}"
    if passing := words_of_passing(calibration, alpha):
        yield "unseen", passing


def _values(column: Column) -> str:
    from vaewatch.scoring.schema import usual_words

    if column.low is not None:
        return f"{column.low:.6g} to {column.high:.6g}"
    if column.part is not None:
        return usual_words(column)
    names = column.categories
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
