"""Findings -> the section on the fit records, and on what in them could mislead a detector."""

from __future__ import annotations

from vaewatch.scoring.manifest import Manifest
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


def data_section(manifest: Manifest, found: Findings) -> Section:
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
        (c.name, c.kind, share(c.missing), _distinct(c.distinct), c.values) for c in found.columns
    ]
    blocks: list[Block] = [facts]
    if warned:
        caption = "Columns to check before you trust the rest"
        blocks.append(Grid(caption, ("column", "what was found"), warned))
    else:
        blocks.append(Text("No column looks like an id, is near-constant, or has values far out."))
    head = ("column", "kind", "missing", "distinct", "values")
    folded = len(columns) > FOLD_FROM
    caption = f"Every column, in {found.profiled:,} fit records"
    blocks.append(Grid(caption, head, columns, folded, numbers=(2, 3)))
    lead = "What the fit records contain, and what in them could mislead a detector."
    return Section("data", "The data", lead, blocks)


def _distinct(count: int | None) -> str:
    return "many" if count is None else number(count)
