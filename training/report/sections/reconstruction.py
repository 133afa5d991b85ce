"""Findings -> the section on how well each column is reconstructed, and how reliable that is."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from vaewatch.training.report.blocks import FOLD_FROM, Grid, Plots, Section, Text, number, share
from vaewatch.training.report.figure import (
    BLUE,
    HIGH,
    MOST_NAMES,
    MUTED,
    ROW,
    STRONG,
    Figure,
    cells,
    draw,
    name_rows,
    room_for,
)
from vaewatch.training.report.findings import BINS, CENTRAL, ColumnFit, Findings, Reliability


def reconstruction_section(found: Findings) -> Section:
    rows = [
        (fit.name, number(fit.explained, 3), "" if fit.central is None else share(fit.central))
        for fit in found.fits
    ]
    table = Grid(
        f"Every column, of {found.judged:,} records by the members that did not see them",
        ("column", "explained", "residuals in the central 90%"),
        rows,
        folded=len(rows) > FOLD_FROM,
        numbers=(1, 2),
    )
    plots = []
    if any(fit.explained is not None for fit in found.fits):
        plots.append(explained(found))
    if any(fit.pit for fit in found.fits):
        plots.append(pit(found))
    if found.reliability is not None:
        plots.append(reliability(found.reliability))
    words = Text(
        "The score weighs each residual by its spread out of bag, and by how residuals vary "
        "together. The PIT of a residual is the share of a normal distribution below it: if the "
        "spread is right, every tenth of the range holds a tenth of the residuals. The alarm "
        "budget does not depend on this, because it is calibrated on the scores themselves."
    )
    lead = "How well each column is reconstructed, and how reliable that is."
    return Section("reconstruction", "Reconstruction", lead, (words, Plots(plots), table))


def explained(found: Findings) -> Figure:
    fits = [fit for fit in found.fits if fit.explained is not None]
    fits = sorted(fits, key=lambda fit: fit.explained or 0.0)[:MOST_NAMES]
    values = [max(fit.explained or 0.0, -0.2) for fit in fits]

    def on(ax: Axes) -> None:
        ax.barh(np.arange(len(fits)), values, color=BLUE, height=0.7)
        name_rows(ax, [fit.name for fit in fits])
        ax.set_xlim(min(0.0, *values, 0.0), 1.0)
        ax.set_xlabel("share of the variance, out of bag")
        ax.grid(False, axis="y")

    return draw(
        "explained",
        "How well the other columns predict each column",
        read="At 1 a column follows from the others, so a value that does not fit stands out; at "
        "0 only its own range can reveal an anomaly. The least explained columns come first.",
        alt="Least explained: "
        + ", ".join(f"{f.name} {f.explained:.2f}" for f in fits[:5] if f.explained is not None),
        on=on,
        high=max(HIGH, ROW * len(fits) + 0.7),
        left=room_for([fit.name for fit in fits]),
    )


def pit(found: Findings) -> Figure:
    fits = sorted((f for f in found.fits if f.pit), key=_distance)[:MOST_NAMES]
    share = np.array([fit.pit for fit in fits], dtype=float)
    share = share.reshape(len(fits), BINS // 2, 2).sum(2)  # tenths
    ratio = np.log2((share + 1) / (share.sum(1, keepdims=True) / 10 + 1))

    def on(ax: Axes) -> None:
        cells(ax, ratio / STRONG)
        ax.set_xticks([-0.5, 4.5, 9.5], ["0", "0.5", "1"])
        name_rows(ax, [fit.name for fit in fits])
        ax.set_xlabel("PIT of the residual, in tenths")

    return draw(
        "pit",
        "Does each numeric column spread as the score assumes?",
        read="A pale row is calibrated. Blue in the middle with orange beside it means that most "
        "errors are small and a few are large: far values weigh more than under a normal law.",
        alt="Share of residuals in the central 90%: "
        + ", ".join(f"{f.name} {f.central:.0%}" for f in fits[:5] if f.central is not None),
        on=on,
        high=max(HIGH, ROW * len(fits) + 0.7),
        left=room_for([fit.name for fit in fits]),
    )


def _distance(fit: ColumnFit) -> float:
    return -abs((fit.central or 0.0) - CENTRAL)


def reliability(found: Reliability) -> Figure:
    bins = found.asked > 0
    given, happened = found.given[bins], found.happened[bins] / found.asked[bins]

    def on(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=MUTED, linestyle=":", label="calibrated")
        ax.plot(given, happened, color=BLUE, marker="o", markersize=4, label="out of bag")
        ax.set_xlabel("probability given to an event")
        ax.set_ylabel("how often it happened")
        ax.legend()

    return draw(
        "reliability",
        "Are the probabilities of categories and missing values right?",
        read="On the dotted line, an event that is given 30% happens 30% of the time. Events "
        "above the line happen more often than predicted.",
        alt=", ".join(f"{g:.2f}: {h:.2f}" for g, h in zip(given, happened, strict=True)),
        on=on,
    )
