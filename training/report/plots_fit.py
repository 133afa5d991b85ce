"""findings -> plots of the fit: the bound over the steps, the latent space, the reconstruction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vaewatch.training.report.figure import (
    BLUE,
    HIGH,
    INK,
    MUTED,
    ORANGE,
    TEAL,
    Figure,
    draw,
    log_scale,
    room_for,
    short,
)
from vaewatch.training.report.findings import Findings
from vaewatch.training.report.latent import ACTIVE
from vaewatch.training.report.reconstruction import BINS, CENTRAL, ColumnFit, Reliability

MOST_COLUMNS = 24  # beside an axis
WARMED_UP = 0.1  # of the steps; what comes before would set the scale
ROW = 0.19  # inches a row of names takes
LEVELS = (0.15, 0.35, 0.6, 0.9)  # of opacity, for what a cell holds
EPOCHS = 0.48  # inches that a second axis takes
STRONG = 2.0  # deviations, or a log ratio, that get the deepest colour


def bound_curve(found: Findings, *, kl: bool) -> Figure:
    step = np.array([line.step for line in found.log])
    inside = -np.array([line.in_bag_nll + line.in_bag_kl for line in found.log])
    outside = -np.array([line.out_of_bag_nll + line.out_of_bag_kl for line in found.log])
    name = "ELBO" if kl else "Log-likelihood"

    def on(ax: Axes) -> None:
        _lines(ax, step, {"in bag": (inside, BLUE, "-"), "out of bag": (outside, ORANGE, "--")})
        ax.set_ylabel("nats a record, higher is better")
        _epochs(ax, found)

    return draw(
        "bound",
        f"{name} per step, in and out of bag",
        read="Both curves should rise and level off together. Where the dashed one falls while "
        "the other rises, the members learn records by heart: more records help most.",
        alt=f"At the last step, {step[-1]:,}, the {name} is {inside[-1]:.4g} nats in bag and "
        f"{outside[-1]:.4g} out of bag.",
        on=on,
        top=EPOCHS,
    )


def parts_curve(found: Findings) -> Figure:
    step = np.array([line.step for line in found.log])
    nll = np.array([line.out_of_bag_nll for line in found.log])
    kl = np.array([line.out_of_bag_kl for line in found.log])

    def on(ax: Axes) -> None:
        _lines(ax, step, {"reconstruction": (nll, BLUE, "-"), "KL": (kl, TEAL, "--")})
        ax.set_ylabel("nats a record, lower is better")
        _epochs(ax, found)

    return draw(
        "parts",
        "Reconstruction and KL per step, out of bag",
        read="The ELBO is minus their sum. A KL that stays near 0 means that the latent space "
        "carries nothing; one that grows for ever, that records are memorised.",
        alt=f"At the last step the reconstruction costs {nll[-1]:.4g} nats a record and the KL "
        f"{kl[-1]:.4g}, out of bag.",
        on=on,
        top=EPOCHS,
    )


def _lines(
    ax: Axes, step: NDArray[np.int64], lines: dict[str, tuple[NDArray[np.float64], str, str]]
) -> None:
    late = step >= WARMED_UP * step[-1]
    shown = np.concatenate([values[late] for values, _, _ in lines.values()])
    margin = 0.06 * (float(np.ptp(shown)) or 1.0)
    for name, (values, colour, style) in lines.items():
        ax.plot(step, values, color=colour, linestyle=style, label=name)
    ax.set_ylim(float(shown.min()) - margin, float(shown.max()) + margin)
    ax.set_xlabel("step")
    ax.legend()


def _epochs(ax: Axes, found: Findings) -> None:
    each = found.seen / found.batch  # steps in which a member sees as many records as it may see

    def to_epochs(steps: Any) -> Any:
        return steps / each

    def to_steps(epochs: Any) -> Any:
        return epochs * each

    top = ax.secondary_xaxis("top", functions=(to_epochs, to_steps))
    top.set_xlabel("epoch")


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
            (high, ORANGE, "^", "highest 5 % of scores"),
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
        "records; triangles in the middle are odd in a way that the code does not tell."
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
        read="Units below the dashed line say the same of every record and could be left out. If "
        "all are far above it, more latent dimensions may help.",
        alt=f"{count} of {len(variances)} units are active.",
        on=on,
    )


def traversals(found: Findings) -> Figure:
    effect, units = found.latent.effect, found.latent.units
    columns = np.argsort(-np.abs(effect).max(0), kind="stable")[:MOST_COLUMNS]
    columns = columns[np.abs(effect[:, columns]).max(0) > 0]
    names = [found.columns[i].name for i in columns]

    def on(ax: Axes) -> None:
        _cells(ax, effect[:, columns].T / STRONG)
        ax.set_xticks(np.arange(len(units)), [f"z{unit.index + 1}" for unit in units])
        _name_rows(ax, names)
        ax.set_xlabel("latent unit, most active first")

    return draw(
        "traversals",
        "What each latent unit does to the columns",
        read="Each latent unit is moved from -2 to 2 with the others at rest. A column in blue "
        "goes up with it, in orange down; the deepest colour is 2 deviations or more.",
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


def explained(found: Findings) -> Figure:
    fits = [fit for fit in found.fits if fit.explained is not None]
    fits = sorted(fits, key=lambda fit: fit.explained or 0.0)[:MOST_COLUMNS]
    values = [max(fit.explained or 0.0, -0.2) for fit in fits]

    def on(ax: Axes) -> None:
        ax.barh(np.arange(len(fits)), values, color=BLUE, height=0.7)
        _name_rows(ax, [fit.name for fit in fits])
        ax.set_xlim(min(0.0, *values, 0.0), 1.0)
        ax.set_xlabel("share of the variance, out of bag")
        ax.grid(False, axis="y")

    return draw(
        "explained",
        "What the other columns tell of each column",
        read="At 1 a column follows from the rest, so a value that does not fit in stands out; at "
        "0 only its own range can give an anomaly away. The least explained come first.",
        alt="Least explained: "
        + ", ".join(f"{f.name} {f.explained:.2f}" for f in fits[:5] if f.explained is not None),
        on=on,
        high=max(HIGH, ROW * len(fits) + 0.7),
        left=room_for([fit.name for fit in fits]),
    )


def pit(found: Findings) -> Figure:
    fits = sorted((f for f in found.fits if f.pit), key=_distance)[:MOST_COLUMNS]
    share = np.array([fit.pit for fit in fits], dtype=float)
    share = share.reshape(len(fits), BINS // 2, 2).sum(2)  # tenths
    ratio = np.log2((share + 1) / (share.sum(1, keepdims=True) / 10 + 1))

    def on(ax: Axes) -> None:
        _cells(ax, ratio / STRONG)
        ax.set_xticks([-0.5, 4.5, 9.5], ["0", "0.5", "1"])
        _name_rows(ax, [fit.name for fit in fits])
        ax.set_xlabel("PIT of the residual, in tenths")

    return draw(
        "pit",
        "Is the spread of each numeric column as the score assumes?",
        read="A pale row is calibrated. Blue in the middle and orange beside it: most errors are "
        "small and a few are large, so far values weigh more than a normal law gives them.",
        alt="Share of residuals in the central 90 %: "
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
        read="On the dotted line, what gets 30 % happens 30 % of the time. Points above it: "
        "happens more often than was thought.",
        alt=", ".join(f"{g:.2f}: {h:.2f}" for g, h in zip(given, happened, strict=True)),
        on=on,
    )


def _cells(ax: Axes, values: NDArray[np.float64]) -> None:
    """(rows, columns) of -1 to 1 as cells: orange below 0, blue above, deeper the further out."""
    edges = (0.05, *[(a + b) / 2 for a, b in zip(LEVELS, LEVELS[1:], strict=False)], np.inf)
    for colour, signed in ((BLUE, values), (ORANGE, -values)):
        for level, low, high in zip(LEVELS, edges, edges[1:], strict=False):
            at = np.argwhere((signed >= low) & (signed < high))
            cells = [Rectangle((x - 0.47, y - 0.47), 0.94, 0.94) for y, x in at]
            ax.add_collection(PatchCollection(cells, color=colour, alpha=level, linewidths=0))
    ax.set_xlim(-0.5, values.shape[1] - 0.5)
    ax.grid(False)


def _name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(np.arange(len(names)), [short(name) for name in names], color=INK)
    ax.set_ylim(len(names) - 0.4, -0.6)
