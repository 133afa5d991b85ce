"""Outlook -> the section on whether the alarm budget holds over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from vaewatch.scoring.budget.in_words import rows_of, words
from vaewatch.scoring.time.blocks import Outlook
from vaewatch.training.report.blocks import Block, Grid, Plots, Section, Text
from vaewatch.training.report.figure import BLUE, MUTED, ORANGE, Figure, draw


def time_section(found: Outlook, *, windows: bool = False) -> Section:
    """Show the alarms of each block beside those expected, and say what follows."""
    lead = "What a calibration of the time before made of the last blocks of time."
    said = [f"{text[0].upper()}{text[1:]}." for text in words(found, windows=windows)]
    blocks: list[Block] = [
        Text(said[0]),
        *(Text(sentence, warning=found.broken) for sentence in said[1:]),
        Plots((alarms_in_time(found),)),
        Grid(
            "Alarms of each block of time",
            ("from (UTC)", "to", "records", "alarms", "expected", "by chance", ""),
            rows_of(found),
            numbers=(2, 3, 4, 5),
        ),
    ]
    return Section("time", "Does the budget hold over time?", lead, blocks)


def starts(times: Sequence[str]) -> list[str]:
    """Return the dates of moments in ISO 8601, with the minute where two have the same date."""
    dates = [time[:10] for time in times]
    if len(set(dates)) == len(dates):
        return dates
    return [f"{time[5:10]}\n{time[11:16]}" for time in times]


def alarms_in_time(found: Outlook) -> Figure:
    blocks = found.blocks
    at = np.arange(len(blocks))
    expected = np.array([block.expected for block in blocks])
    low, high = (np.array([getattr(b, name) for b in blocks]) for name in ("low", "high"))
    alarms = np.array([block.alarms for block in blocks])

    def on(ax: Axes) -> None:
        ax.bar(at, high - low, 0.8, low, color=BLUE, alpha=0.25, label="what chance allows")
        ax.plot(at, expected, color=MUTED, linestyle=":", label="expected")
        ax.plot(at, alarms, color=ORANGE, marker="o", label="alarms")
        every = at[::3]  # more dates would overlap
        ax.set_xticks(every, starts([blocks[i].start for i in every]))
        ax.set_ylim(0, 1.45 * ax.get_ylim()[1])  # room for the legend
        ax.set_ylabel("alarms of a block")
        ax.legend()

    said = ", ".join(f"{a} of {e:.2g} expected" for a, e in zip(alarms, expected, strict=True))
    return draw(
        "time",
        "Alarms in each of the last blocks of time",
        read="Points inside the bars are what chance brings. Points that rise above them show a "
        "change: the scores of the time before no longer tell what is normal.",
        alt=f"Alarms from {blocks[0].start} to {blocks[-1].end}: {said}.",
        on=on,
    )
