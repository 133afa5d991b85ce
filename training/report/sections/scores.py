"""Calibration -> the section on the scores of normal records, and where alarms begin."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.scoring.budget.described import COMMON_ALPHAS, shown_alphas
from vaewatch.training.report.blocks import Plots, Section, Text
from vaewatch.training.report.figure import (
    BLUE,
    ORANGE,
    STYLES,
    Figure,
    bin_edges,
    draw,
    log_scale,
)

BINS = 60


def score_section(calibration: Calibration) -> Section:
    lead = "What normal records score when the network has not seen them, and where alarms begin."
    words = Text(
        "A record is an anomaly if its p-value is at most alpha. The p-value is (1 + calibration "
        "scores at least as high) / (n + 1). Thresholds express the same in nats, for people."
    )
    plots = Plots((score_distribution(calibration), tail(calibration)))
    return Section("scores", "Scores", lead, (words, plots))


def score_distribution(calibration: Calibration) -> Figure:
    scores, alphas = calibration.scores, shown_alphas(calibration)
    edges = bin_edges(scores, BINS)

    def on(ax: Axes) -> None:
        ax.hist(scores, edges.tolist(), color=BLUE, alpha=0.55)
        if edges[0] > 0:
            log_scale(ax, x=True)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        for alpha, style in zip(alphas, STYLES * 2, strict=False):
            at = calibration.threshold(alpha)
            assert at is not None
            ax.axvline(at, color=ORANGE, linestyle=style, label=f"alpha {alpha:g}")
        ax.set_xlabel("score, nats")
        ax.set_ylabel("calibration records")
        ax.legend()

    said = ", ".join(f"{number_of(calibration, a)} at alpha {a:g}" for a in alphas)
    return draw(
        "scores",
        "Scores of normal records, with the threshold at several alphas",
        read="A record to the right of a line alarms at that alpha. The lines lie in the tail: "
        "a record far to the right of the bulk is rare, not necessarily wrong.",
        alt=f"{calibration.n:,} scores from {scores[0]:.4g} to {scores[-1]:.4g}. Thresholds: "
        f"{said}.",
        on=on,
    )


def number_of(calibration: Calibration, alpha: float) -> str:
    """Return the threshold at alpha, in nats, for people."""
    at = calibration.threshold(alpha)
    return "none" if at is None else f"{at:.4g}"


def tail(calibration: Calibration) -> Figure:
    scores = calibration.scores
    share = np.arange(calibration.n, 0, -1) / (calibration.n + 1)
    alpha = calibration.alpha

    def on(ax: Axes) -> None:
        ax.step(scores, share, color=BLUE, where="pre")
        log_scale(ax, x=bool(scores[0] > 0), y=True)
        ax.axhline(alpha, color=ORANGE, linestyle="--", label=f"alpha {alpha:g}")
        ax.set_xlabel("score, nats")
        ax.set_ylabel("share that scores at least as high")
        ax.legend()

    return draw(
        "tail",
        "How the threshold moves with alpha",
        read="Find alpha on the left and go right to the curve: the threshold is below. Where the "
        "curve is flat, a slightly smaller alpha takes a much higher score.",
        alt="; ".join(f"alpha {a:g}: {number_of(calibration, a)}" for a in COMMON_ALPHAS),
        on=on,
    )
