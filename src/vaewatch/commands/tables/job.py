"""The counts of a job of scoring, for people."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from vaewatch.commands.terminal import err

if TYPE_CHECKING:
    from vaewatch.batch.job import Counts
    from vaewatch.batch.summary import Summary

WIDTH = 80  # columns of the narrowest terminal


def print_job(summary: Summary, *, counts_only: bool) -> None:
    """Print what a job has counted, and what it means, unless only the counts are asked for."""
    from vaewatch.commands.tables.segments import print_counts_by_segment

    _print_counts(summary)
    if counts_only:
        return
    _print_words(summary.words)
    _print_series(summary)
    _print_incidents(summary)
    _print_severities(summary)
    print_counts_by_segment(err(), summary)


def _print_counts(summary: Summary) -> None:
    counts, earlier = summary.counts, summary.earlier.records
    rejected = f", {counts.rejected:,} rejected (see {summary.job.rejects})"
    err().print(
        f"scored {_number(counts.scored, 'record')}: {_standings(counts)}"
        f"{_number(counts.anomalies, 'anomaly')} ({counts.anomaly_rate:.2%})"
        f"{rejected if counts.rejected else ''}; "
        f"{f'{earlier:,} of them before it was resumed; ' if earlier else ''}"
        f"{summary.rate:,.0f} records/s"
    )


def _standings(counts: Counts) -> str:
    """How many of the records were judged, where not all are, and what the others are."""
    from vaewatch.commands.tables.series import judged_text

    if (series := counts.series) is None:
        return ""
    others = {"warming up": series.warming_up, "late": series.late, "repeated": series.repeated}
    shown = [f"{number:,} {name}" for name, number in others.items() if number]
    return ", ".join([judged_text(series), *shown]) + "; "


def _print_series(summary: Summary) -> None:
    """Print the incidents beside those that were foretold, where there are windows."""
    series, incidents = summary.counts.series, summary.incidents
    if series is None or incidents is None:
        return
    entities = _number(series.entities, "entity")
    days = f"{incidents.days:,.3g} days of an entity judged"
    err().print(f"{entities}, {days}; {_number(series.gaps, 'gap')}")
    err().print(incidents.words)


def _print_incidents(summary: Summary) -> None:
    """Print how many incidents there are, and whether the merge gap suits the traffic."""
    incidents = summary.counts.incidents
    if incidents is None:
        return
    timed = summary.artifact.schema.time is not None
    for words in (incidents.words(), incidents.remark(timed=timed)):
        for line in textwrap.wrap(words or "", WIDTH):
            err().print(line)


def _print_words(words: str) -> None:
    """Print what is known of false anomalies: the numbers, then what follows from them."""
    numbers, _, follows = words.partition(": ")
    err().print(f"{numbers}:")
    for line in textwrap.wrap(follows, WIDTH):
        err().print(line)


def _number(n: int, what: str) -> str:
    if n != 1:
        what = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{n:,} {what}"


def _print_severities(summary: Summary) -> None:
    """Print the severities beside the shares that normal traffic has."""
    from vaewatch.batch.summary import severity_bands
    from vaewatch.commands.terminal import bar, print_table

    console = err()
    if not summary.counts.judged:
        return
    rows = [
        (band.name, f"{band.records:,}", f"{band.share:.2%}", f"{band.normal:.2%}",
         bar(console, band.share))
        for band in severity_bands(summary.counts)
    ]  # fmt: skip
    head = ("severity", "records", "share", "if normal", "")
    print_table(console, head, rows, right=(1, 2, 3))
