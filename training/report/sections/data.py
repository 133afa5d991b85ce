"""Findings -> the section on the fit records, and on what in them could mislead a detector."""

from __future__ import annotations

from collections.abc import Iterator

from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.schema import Schema
from vaewatch.training.records.profile import ColumnProfile
from vaewatch.training.report.blocks import (
    FOLD_FROM,
    Block,
    Facts,
    Grid,
    Section,
    Text,
    number,
    share,
)
from vaewatch.training.report.findings import Findings
from vaewatch.training.report.series import SeriesFindings


def data_section(manifest: Manifest, found: Findings | SeriesFindings) -> Section:
    metrics = manifest.metrics
    facts = Facts(
        (
            ("records given", number(manifest.records_given)),
            ("records read", number(metrics.records)),
            ("records fitted to", number(metrics.fit_records)),
            ("trimmed as suspects", number(metrics.trimmed_records)),
            ("columns", number(len(found.columns))),
            ("features", number(metrics.features)),
        )
    )
    warned = [(c.name, " ".join(c.warnings)) for c in found.columns if c.warnings]
    columns = [
        (c.name, _kind(c, manifest.schema), share(c.missing), share(c.rare), *_held(c))
        for c in found.columns
    ]
    blocks: list[Block] = [facts]
    if warned:
        caption = "Columns to check before you trust the rest"
        blocks.append(Grid(caption, ("column", "what was found"), warned))
    else:
        blocks.append(Text("No column looks like an id, is near-constant, or has values far out."))
    head = ("column", "kind", "missing", "rare", "distinct", "values")
    folded = len(columns) > FOLD_FROM
    caption = f"Every column, in {found.profiled:,} fit records"
    blocks.append(Grid(caption, head, columns, folded, numbers=(2, 3, 4)))
    blocks += _apart(manifest.schema)
    lead = "What each column was taken for, what it holds, and what could mislead a detector."
    return Section("data", "What was read as what", lead, blocks)


def _kind(column: ColumnProfile, schema: Schema) -> str:
    spelling = next((c.format for c in schema.columns if c.name == column.name), None)
    return column.kind if spelling is None else f"{column.kind}, with {spelling}"


def _held(column: ColumnProfile) -> tuple[str, str]:
    return _distinct(column.distinct), column.values


def _apart(schema: Schema) -> Iterator[Text]:
    """Name the columns that are not learned."""
    for does, names in (
        ("names the records", [schema.id]),
        ("holds labels", [schema.label]),
        ("says when a record was made", [schema.time.column if schema.time else None]),
        ("says whose a record is", [schema.entity]),
        ("was left out, as asked", schema.ignored),
    ):
        for name in filter(None, names):
            yield Text(f"Not learned: {name}, which {does}.")


def _distinct(count: int | None) -> str:
    return "many" if count is None else number(count)
