"""Findings -> the section on the fit: how the bound rose, in and out of bag."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vaewatch.scoring.manifest import Manifest
from vaewatch.training.report.blocks import Facts, Plots, Section, Text, number
from vaewatch.training.report.figure import BLUE, ORANGE, TEAL, Figure, draw
from vaewatch.training.report.findings import Findings
from vaewatch.training.report.series import SeriesFindings

WARMED_UP = 0.1  # of the steps; what comes before would set the scale
EPOCHS = 0.48  # inches that a second axis takes


def fit_section(manifest: Manifest, found: Findings, *, kl: bool) -> Section:
    last, training = found.log[-1], manifest.training
    best = max(found.log, key=lambda line: -(line.out_of_bag_nll + line.out_of_bag_kl))
    gap = last.out_of_bag_nll + last.out_of_bag_kl - last.in_bag_nll - last.in_bag_kl
    facts = Facts(
        (
            ("members", f"{training.members}, of them {training.served} score"),
            ("steps", f"{last.step:,}, {_epochs_of(found)} epochs"),
            ("best out of bag at step", number(best.step)),
            ("ELBO out of bag" if kl else "log-likelihood out of bag", _bound(found)),
            ("gap to in bag, nats", number(gap)),
            ("active latent units per member", _active(found)),
        )
    )
    words = (
        "The members that score see all records. Each of the others leaves out a part of them, "
        "so every record is out of bag for one member: an honest measure without a validation "
        "set. The run takes all its steps; there is no early stopping. "
    )
    words += (
        "ELBO = -(reconstruction + KL) is a lower bound of log p(x), in nats per record of "
        "standardised features, with the noise that the encoder sees."
        if kl
        else "An autoencoder has no KL and no bound: this is its log-likelihood."
    )
    plots = [bound_curve(found, kl=kl), *([parts_curve(found)] if kl else [])]
    lead = "Whether the stack learned the records, and whether it memorised them."
    return Section("fit", "The fit", lead, (facts, Text(words), Plots(plots)))


def _active(found: Findings) -> str:
    least, most = min(found.latent.active), max(found.latent.active)
    return f"{least if least == most else f'{least} to {most}'} of {found.latent.of}"


def _epochs_of(found: Findings) -> str:
    """Return the number of epochs: in one, a member sees as many records as it may see."""
    epochs = found.log[-1].step * found.batch / found.seen
    return f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.1f}"


def _bound(found: Findings) -> str:
    last = found.log[-1]
    return number(-(last.out_of_bag_nll + last.out_of_bag_kl))


def bound_curve(found: Findings | SeriesFindings, *, kl: bool) -> Figure:
    step = np.array([line.step for line in found.log])
    inside = -np.array([line.in_bag_nll + line.in_bag_kl for line in found.log])
    outside = -np.array([line.out_of_bag_nll + line.out_of_bag_kl for line in found.log])
    name = "ELBO" if kl else "Log-likelihood"

    def on(ax: Axes) -> None:
        _lines(ax, step, {"in bag": (inside, BLUE, "-"), "out of bag": (outside, ORANGE, "--")})
        ax.set_ylabel("nats per record, higher is better")
        _add_epochs(ax, found)

    return draw(
        "bound",
        f"{name} per step, in and out of bag",
        read="Both curves should rise and level off together. If the dashed one falls while "
        "the other rises, the members memorise records: more records help most.",
        alt=f"At the last step, {step[-1]:,}, the {name} is {inside[-1]:.4g} nats in bag and "
        f"{outside[-1]:.4g} out of bag.",
        on=on,
        top=EPOCHS,
    )


def parts_curve(found: Findings | SeriesFindings) -> Figure:
    step = np.array([line.step for line in found.log])
    nll = np.array([line.out_of_bag_nll for line in found.log])
    kl = np.array([line.out_of_bag_kl for line in found.log])

    def on(ax: Axes) -> None:
        _lines(ax, step, {"reconstruction": (nll, BLUE, "-"), "KL": (kl, TEAL, "--")})
        ax.set_ylabel("nats per record, lower is better")
        _add_epochs(ax, found)

    return draw(
        "parts",
        "Reconstruction and KL per step, out of bag",
        read="The ELBO is minus their sum. A KL near 0 means that the latent space carries "
        "nothing; one that keeps growing, that records are memorised.",
        alt=f"At the last step the reconstruction costs {nll[-1]:.4g} nats per record and the KL "
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


def _add_epochs(ax: Axes, found: Findings | SeriesFindings) -> None:
    each = found.seen / found.batch  # steps of an epoch

    def to_epochs(steps: Any) -> Any:
        return steps / each

    def to_steps(epochs: Any) -> Any:
        return epochs * each

    top = ax.secondary_xaxis("top", functions=(to_epochs, to_steps))
    top.set_xlabel("epoch")
