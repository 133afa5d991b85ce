"""The calibrations of segments, and their false alarms on labelled records, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vaewatch.scoring.budget.expected import tenths
from vaewatch.scoring.manifest import Manifest
from vaewatch.training.calibration.by_segment import SegmentBudget
from vaewatch.training.report.blocks import Block, Grid, Text, number


def calibrations_by_segment(manifest: Manifest) -> Iterator[Block]:
    """Yield the calibration of each segment, where the artifact has one."""
    segments = manifest.calibration.segments
    if not segments:
        return
    rows = [
        (
            _named(each.segment),
            number(each.records),
            number(each.n),
            each.calibration,
            number(each.threshold),
            "no promise"
            if each.rate_interval_95 is None
            else "{:.2g} to {:.2g}".format(*each.rate_interval_95),
        )
        for each in segments
    ]
    head = ("segment", "records", "calibrate", "calibration", "threshold", "true rate, 95%")
    caption = f"The segments of column '{manifest.schema.segment}'"
    yield Grid(caption, head, rows, numbers=(1, 2, 4))
    if any(each.rate_interval_95 is None for each in segments):
        needed = manifest.calibration.records_needed[f"{manifest.alpha:g}"]
        yield Text(
            f"Pooled: fewer than {needed:,} records of the segment calibrate, or it has no "
            "category of its own. All records together judge it, which promises nothing for it "
            "alone: it may alarm far more or far less often. More of its records give it a "
            "calibration of its own.",
            warning=True,
        )


def alarms_by_segment(segments: Sequence[SegmentBudget]) -> Iterator[Grid]:
    """Yield the false alarms of each segment, where the artifact has one."""
    rows = [
        (
            _named(each.segment),
            f"{each.normals:,}",
            f"{each.false_alarms:,}",
            tenths(each.expected_false_alarms, bound=each.bound),
            f"{each.false_alarms / each.normals:.4f}",
            each.calibration,
            number(each.budget_p_value, 2),
        )
        for each in segments
    ]
    head = ("segment", "normals", "false alarms", "expected", "rate", "calibration", "p")
    if rows:
        yield Grid(
            "By segment; p: how probable so many false alarms are by chance, where its own "
            "calibration judges it",
            head,
            rows,
            numbers=(1, 2, 3, 4, 6),
        )


def _named(segment: str | None) -> str:
    return "(missing)" if segment is None else segment
