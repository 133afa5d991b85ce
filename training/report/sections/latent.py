"""Findings -> the section on the latent space: where records lie in it, and what its units do."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from vaewatch.training.report.blocks import FOLD_FROM, Grid, Plots, Section
from vaewatch.training.report.figure import (
    BLUE,
    HIGH,
    MOST_NAMES,
    MUTED,
    ORANGE,
    ROW,
    STRONG,
    Figure,
    cells,
    draw,
    log_scale,
    name_rows,
    room_for,
)
from vaewatch.training.report.findings import ACTIVE, Findings


def latent_section(found: Findings, *, kl: bool) -> Section:
    rows = [
        (f"z{unit.index + 1}", *moved)
        for unit in found.latent.units
        for moved in unit.moved
    ]  # fmt: skip
    ends = ("at -2", "at 2") if kl else ("2 deviations below", "2 deviations above")
    table = Grid(
        "Expected values at either end of the most active units",
        ("unit", "column", *ends),
        rows,
        folded=len(rows) > FOLD_FROM,
    )
    plots = Plots((posterior_means(found, kl=kl), active_units(found), traversals(found)))
    lead = "What the code holds: each unit is a way in which normal records differ."
    return Section("latent", "The latent space", lead, (plots, table))


def posterior_means(found: Findings, *, kl: bool) -> Figure:
    means, high = found.latent.means, found.high
    reach = max(3.4, 1.1 * float(np.quantile(np.abs(means), 0.995)))
    beyond = int((np.abs(means) > reach).any(1).sum())

    def on(ax: Axes) -> None:
        for radius in (1, 2, 3) if kl else ():
            ax.add_patch(Circle((0, 0), radius, fill=False, edgecolor=MUTED, linestyle=":"))
            at = -radius / math.sqrt(2)
            ax.annotate(f"{radius}", (at, at), color=MUTED, ha="right", va="top")
        for rows, colour, marker, name in (
            (~high, BLUE, "o", "fit records"),
            (high, ORANGE, "^", "highest 5% of scores"),
        ):
            look: dict[str, Any] = {
                "s": 7,
                "color": colour,
                "marker": marker,
                "alpha": 0.5,
                "linewidths": 0,
            }
            ax.scatter(means[rows, 0], means[rows, 1], label=name, **look)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        ax.set_xlabel("widest direction")
        ax.set_ylabel("second widest")
        ax.legend(loc="upper right")

    contours = (
        "Dotted circles are the prior at 1, 2 and 3 deviations: a blob that fills the inner two "
        "is what the prior expects. "
        if kl
        else "An autoencoder has no prior to compare with. "
    )
    return draw(
        "means",
        "Posterior means of the first member, in their two widest directions",
        read=contours + "Separate islands are groups in the data. Triangles at the rim are rare "
        "records; triangles in the middle are unusual in a way that the code does not show."
        + (f" {beyond} of {len(means):,} points lie outside." if beyond else ""),
        alt=f"{len(means):,} points; {np.mean(np.linalg.norm(means, axis=1) < 2):.0%} lie within "
        f"2 of the origin, {beyond} beyond the plot.",
        on=on,
        high=4.2,
    )


def active_units(found: Findings) -> Figure:
    variances = found.latent.variances
    count = int((variances > ACTIVE).sum())

    def on(ax: Axes) -> None:
        ax.bar(np.arange(1, len(variances) + 1), np.maximum(variances, 1e-6), color=BLUE)
        ax.axhline(ACTIVE, color=ORANGE, linestyle="--", label="active above")
        log_scale(ax, y=True)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_xlabel("latent unit, most active first")
        ax.set_ylabel("variance of its mean over records")
        ax.legend()

    return draw(
        "units",
        "How much each latent unit of the first member carries",
        read="Units below the dashed line are the same for every record and could be left out. If "
        "all are far above it, more latent dimensions may help.",
        alt=f"{count} of {len(variances)} units are active.",
        on=on,
    )


def traversals(found: Findings) -> Figure:
    effect, units = found.latent.effect, found.latent.units
    columns = np.argsort(-np.abs(effect).max(0), kind="stable")[:MOST_NAMES]
    columns = columns[np.abs(effect[:, columns]).max(0) > 0]
    names = [found.columns[i].name for i in columns]

    def on(ax: Axes) -> None:
        cells(ax, effect[:, columns].T / STRONG)
        ax.set_xticks(np.arange(len(units)), [f"z{unit.index + 1}" for unit in units])
        name_rows(ax, names)
        ax.set_xlabel("latent unit, most active first")

    return draw(
        "traversals",
        "What each latent unit does to the columns",
        read="Each latent unit is moved from -2 to 2 while the others rest. Blue columns rise "
        "with it, orange ones fall; the deepest colour means 2 deviations or more.",
        alt="; ".join(
            f"z{unit.index + 1} moves {', '.join(name for name, _, _ in unit.moved[:3])}"
            for unit in units
            if unit.moved
        )
        or "No unit moves a column.",
        on=on,
        high=max(HIGH, ROW * len(columns) + 0.7),
        left=room_for(names),
    )
