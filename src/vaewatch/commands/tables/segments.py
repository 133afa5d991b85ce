"""The calibrations of segments, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from vaewatch.batch.summary import Summary
    from vaewatch.scoring.budget.summary import SegmentSummary
    from vaewatch.scoring.manifest import Manifest


def shown_segment(name: str | None) -> str:
    """Return a segment's name for people."""
    return "(missing)" if name is None else name


def print_segments(console: Console, manifest: Manifest) -> None:
    """Print how each segment is calibrated, if the artifact has a segment."""
    from vaewatch.commands.terminal import print_table

    found = manifest.calibration.segments
    if not found:
        return
    needed = manifest.calibration.records_needed[f"{manifest.alpha:g}"]
    head = ("segment", "records", "calibrate", "calibration", "threshold", "true rate, 95%")
    rows = [_row(each, needed) for each in found]
    print_table(console, head, rows, right=(1, 2, 4))


def _row(each: SegmentSummary, needed: int) -> tuple[str, ...]:
    if each.rate_interval_95 is None:
        many = each.n >= needed  # the bucket of segments that are not named
        rate = "no promise: not one segment" if many else f"no promise: takes {needed:,}"
    else:
        low, high = each.rate_interval_95
        rate = f"{low:.2g} to {high:.2g}"
    return (
        shown_segment(each.segment),
        f"{each.records:,}",
        f"{each.n:,}",
        each.calibration,
        f"{each.threshold:.4g}",
        rate,
    )


def print_counts_by_segment(console: Console, summary: Summary) -> None:
    """Print the anomalies of each segment, where the artifact has one."""
    from vaewatch.commands.terminal import print_table
    from vaewatch.scoring.budget.expected import tenths

    rows = [
        (
            shown_segment(each.segment),
            f"{each.records:,}",
            f"{each.anomalies:,}",
            "" if each.expected is None else tenths(each.expected, bound=each.bound),
            f"{each.rate:.2%}",
            each.calibration,
        )
        for each in summary.segments()
    ]
    if rows:
        head = ("segment", "records", "anomalies", "expected", "share", "calibration")
        print_table(console, head, rows, right=(1, 2, 3, 4))
