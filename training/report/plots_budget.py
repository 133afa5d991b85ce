"""calibration -> plots of the scores of normal records, and of what the alarm budget promises."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from vaewatch.scoring.calibration import Calibration, rate_interval
from vaewatch.training.calibration.calibrate import COMMON_ALPHAS, shown_alphas
from vaewatch.training.report.figure import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    TEAL,
    VIOLET,
    Figure,
    draw,
    log_scale,
)

BINS = 60
PLANTED = np.linspace(0, 0.06, 61)
STYLES = ("--", "-.", ":", (0, (1, 1, 4, 1)))
Floats = NDArray[np.float64]


def edges_of(scores: Floats, bins: int = BINS) -> Floats:
    """Bin edges: even on a logarithmic scale where all scores are positive."""
    low, high = float(scores.min()), float(scores.max())
    if low <= 0 or low == high:
        return np.linspace(low, high if high > low else low + 1, bins + 1)
    return np.geomspace(low, high, bins + 1)


def score_distribution(calibration: Calibration) -> Figure:
    scores, alphas = calibration.scores, shown_alphas(calibration)
    edges = edges_of(scores)

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
        "what is far to the right of the bulk is rare, not yet wrong.",
        alt=f"{calibration.n:,} scores from {scores[0]:.4g} to {scores[-1]:.4g}. Thresholds: "
        f"{said}.",
        on=on,
    )


def number_of(calibration: Calibration, alpha: float) -> str:
    """The threshold at alpha, for people."""
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
        read="Read alpha on the left and go right to the curve: below is the threshold. Where the "
        "curve is flat, a little less alpha asks for a much higher score.",
        alt="; ".join(f"alpha {a:g}: {number_of(calibration, a)}" for a in COMMON_ALPHAS),
        on=on,
    )


def budget(calibration: Calibration) -> Figure:
    n, asked = calibration.n, calibration.alpha
    most = max(0.2, 2 * asked)
    ranks = np.unique(np.geomspace(1, max(most * (n + 1), 1), 60).astype(int))
    grid = np.minimum(ranks / (n + 1), 0.999)  # between two ranks nothing is gained
    laws = np.array([rate_interval(float(a), n) for a in grid])
    low, high = rate_interval(asked, n)

    def on(ax: Axes) -> None:
        ax.fill_between(grid, *(laws / grid[:, None]).T, color=BLUE, alpha=0.25, linewidth=0,
                        label="true rate, 95 %")  # fmt: skip
        ax.axhline(1, color=MUTED, linestyle=":")
        ax.errorbar([asked], [1], [[max(1 - low / asked, 0)], [max(high / asked - 1, 0)]],
                    color=ORANGE, fmt="o", capsize=4, label=f"asked for: {asked:g}")  # fmt: skip
        log_scale(ax, x=True)
        ax.set_ylim(0, min(float((laws / grid[:, None]).max()) * 1.1, 4))
        ax.set_xlabel("alpha asked for")
        ax.set_ylabel("true false-alarm rate / alpha")
        ax.legend()

    return draw(
        "budget",
        f"What {n:,} calibration records certify at each alpha",
        read="At 1 normal records alarm as often as asked. The band is where the true rate may "
        "lie by the luck of the calibration records: it opens to the left, where fewer of them "
        "decide. More records make it narrower.",
        alt=f"Asked for {asked:g}, the true rate lies in {low:.2g} to {high:.2g} (95 %).",
        on=on,
    )


def contamination_rate(alpha: float, planted: Floats) -> Floats:
    """What normal records get if a share of the calibration records are anomalies that all score
    higher: (alpha - share) / (1 - share), and nothing below that.
    """
    return np.maximum((alpha - planted) / (1 - planted), 0.0)


def contamination(calibration: Calibration) -> Figure:
    alphas = shown_alphas(calibration)[:4]

    def on(ax: Axes) -> None:
        colours = (BLUE, ORANGE, TEAL, VIOLET)
        for alpha, colour, style in zip(alphas, colours, ("-", *STYLES), strict=False):
            rate = contamination_rate(alpha, PLANTED) / alpha
            ax.plot(100 * PLANTED, rate, color=colour, linestyle=style, label=f"alpha {alpha:g}")
        ax.set_xlabel("anomalies among the calibration records, %")
        ax.set_ylabel("rate of normal records / alpha", color=INK)
        ax.legend()

    return draw(
        "contamination",
        "What anomalies in the file of normal records do to the budget",
        read="Each line starts at 1 on a clean file. Anomalies that score highest use the budget "
        "up: normal records alarm less, and anomalies like them are no longer found.",
        alt="; ".join(
            f"alpha {a:g} with 1 % planted: {contamination_rate(a, np.array([0.01]))[0]:.2g}"
            for a in alphas
        ),
        on=on,
    )
