"""Learned -> OddRecords: the fit records that the network, without having seen them, finds odd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.scorer import Scorer
from vaewatch.training.export.package import Package
from vaewatch.training.learned import Learned
from vaewatch.training.records.profile import clip
from vaewatch.training.report.findings import OddRecord

MOST, REASONS = 10, 3


@dataclass(frozen=True)
class Input:
    """The records as they were read. place: gives the place of a row."""

    frame: pl.DataFrame
    place: Callable[[int], str]


def odd_records(learned: Learned, package: Package, given: Input) -> tuple[OddRecord, ...]:
    """Return the fit records that score highest out of bag, the highest first."""
    evidence, id_column = learned.evidence, learned.config.id
    top = np.argsort(-evidence.scores, kind="stable")[:MOST]
    rows = learned.split.fit[evidence.rows[top]]
    table, scorer = learned.table.take(rows), Scorer(package.artifact())
    verdicts = scorer.score_table(table, explain=REASONS)
    ids = [None] * len(rows) if id_column is None else given.frame[id_column][rows].to_list()
    return tuple(
        OddRecord(
            given.place(row),
            None if own is None else clip(str(own)),
            score,
            tuple(map(_words, reasons)),
        )
        for row, own, score, reasons in zip(
            rows.tolist(), ids, evidence.scores[top].tolist(), verdicts.reasons, strict=True
        )
    )


def _words(reason: Reason) -> str:
    observed, expected = (
        clip(value) if isinstance(value, str) else value
        for value in (reason.observed, reason.expected)
    )
    return str(replace(reason, observed=observed, expected=expected))
