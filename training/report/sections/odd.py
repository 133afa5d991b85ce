"""OddRecords -> the section on fit records that may not be normal."""

from __future__ import annotations

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.training.report.blocks import Grid, Section, Text, number
from vaewatch.training.report.findings import OddRecord


def odd_section(odd: tuple[OddRecord, ...], calibration: Calibration) -> Section:
    threshold = calibration.threshold(calibration.alpha)
    ids = any(record.id is not None for record in odd)
    rows = [
        (
            record.place,
            *((record.id or "",) if ids else ()),
            _times(record.score, threshold),
            "; ".join(record.reasons) or "no single column stands out",
        )
        for record in odd
    ]
    head = ("where", *(("id",) if ids else ()), "score / threshold", "what is odd")
    caption = f"The {len(odd)} fit records that score highest"
    words = Text(
        "Look at these: if they are not normal, leave them out and train again, or pass "
        "--contamination-robust, which leaves out records that are far out. If they are normal, "
        "there is nothing to do: in every file some records are the rarest. Each is scored by the "
        "members that were not fitted to it. Above 1 a record would alarm."
    )
    lead = "The file should hold normal records alone. These are the least like the others."
    grid = Grid(caption, head, rows, numbers=(len(head) - 2,))
    return Section("odd", "Odd fit records", lead, (words, grid))


def _times(score: float, threshold: float | None) -> str:
    return number(score / threshold, 3) if threshold is not None and threshold > 0 else "n/a"
