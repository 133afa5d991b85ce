"""labelled records -> plots of how well anomalies are found, beside the peers."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from vaewatch.scoring.calibration import Calibration
from vaewatch.training.report.figure import (
    BLUE,
    HIGH,
    MUTED,
    ORANGE,
    TEAL,
    VIOLET,
    Figure,
    draw,
    log_scale,
    room_for,
    short,
)
from vaewatch.training.report.labelled import Figures, Labelled
from vaewatch.training.report.plots_budget import edges_of
from vaewatch.training.report.plots_fit import ROW

LINES = ((BLUE, "-"), (ORANGE, "--"), (TEAL, "-."), (VIOLET, ":"))
POINTS = 300  # of a curve; more cannot be seen
SHOWN_REASONS = 8


def plot_labelled(labelled: Labelled, calibration: Calibration) -> list[Figure]:
    """Those that these records allow."""
    figures = [separation(labelled, calibration)]
    if labelled.both:
        figures += [roc(labelled), precision_recall(labelled)]
    figures.append(recall_at_alpha(labelled))
    found = labelled.evaluation
    if found.reasons_of_true_alarms or found.reasons_of_false_alarms:
        figures.append(reasons(labelled))
    return figures


def separation(labelled: Labelled, calibration: Calibration) -> Figure:
    scores = labelled.judged[0].scores
    edges = edges_of(scores, 50)
    threshold = calibration.threshold(calibration.alpha)
    assert threshold is not None

    def on(ax: Axes) -> None:
        for rows, colour, name in (
            (~labelled.anomaly, BLUE, "labelled normal"),
            (labelled.anomaly, ORANGE, "labelled anomaly"),
        ):
            if rows.any():
                weight = np.full(rows.sum(), 1 / rows.sum())
                ax.hist(
                    scores[rows],
                    edges.tolist(),
                    weights=weight,
                    color=colour,
                    alpha=0.5,
                    label=name,
                )
        ax.axvline(threshold, color=MUTED, linestyle="--", label=f"alpha {calibration.alpha:g}")
        if edges[0] > 0:
            log_scale(ax, x=True)
        ax.set_xlabel("score, nats")
        ax.set_ylabel("share of the records of its label")
        ax.legend()

    found = labelled.evaluation
    return draw(
        "separation",
        "Scores of labelled normals and anomalies",
        read="What is right of the dashed line alarms. Anomalies to its left are missed; normals "
        "to its right are false alarms. Where the two heaps overlap no threshold tells them "
        "apart.",
        alt=f"{found.anomalies:,} anomalies and {found.records - found.anomalies:,} normals; "
        f"the threshold is {threshold:.4g}.",
        on=on,
    )


def roc(labelled: Labelled) -> Figure:
    figures = labelled.figures()

    def on(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=MUTED, linestyle=":")
        for judged, own, (colour, style) in zip(labelled.judged, figures, LINES, strict=False):
            rate, recall, _ = roc_curve(labelled.anomaly, judged.scores)
            name = f"{judged.name} {own.auroc:.4f}"
            ax.plot(*_thin(rate, recall), color=colour, linestyle=style, label=name)
        ax.set_xlabel("false-alarm rate")
        ax.set_ylabel("recall")
        ax.legend(loc="lower right")

    return draw(
        "roc",
        "ROC: recall against false alarms",
        read="The nearer a curve comes to the upper left, the better; the number is the area "
        "under it. The dotted line is chance.",
        alt=_areas(figures, "AUROC"),
        on=on,
        high=3.6,
    )


def precision_recall(labelled: Labelled) -> Figure:
    figures = labelled.figures()

    def on(ax: Axes) -> None:
        for judged, own, (colour, style) in zip(labelled.judged, figures, LINES, strict=False):
            precision, recall, _ = precision_recall_curve(labelled.anomaly, judged.scores)
            name = f"{judged.name} {own.auprc:.4f}"
            ax.plot(*_thin(recall, precision), color=colour, linestyle=style, label=name)
        ax.axhline(labelled.anomaly.mean(), color=MUTED, linestyle=":")
        ax.set_ylim(0, 1.03)
        ax.set_xlabel("recall")
        ax.set_ylabel("precision")
        ax.legend(loc="lower left")

    return draw(
        "precision",
        "Precision against recall",
        read="How many of the alarms are real, as more of the anomalies are found. The dotted "
        "line is what alarms at random would give with this share of anomalies.",
        alt=_areas(figures, "AUPRC"),
        on=on,
        high=3.6,
    )


def recall_at_alpha(labelled: Labelled) -> Figure:
    alphas = np.array([found.alpha for found in labelled.at])
    lines = {
        "recall": ([found.recall for found in labelled.at], BLUE, "o"),
        "false-alarm rate": ([found.false_alarm_rate for found in labelled.at], ORANGE, "^"),
    }

    def on(ax: Axes) -> None:
        for name, (values, colour, marker) in lines.items():
            shown = [value or math.nan for value in values]  # none, and 0 on a log scale
            ax.plot(alphas, shown, color=colour, marker=marker, markersize=5, label=name)
        ax.plot(alphas, alphas, color=MUTED, linestyle=":", label="alpha")
        log_scale(ax, x=True, y=True)
        ax.set_xlabel("alpha asked for")
        ax.legend()

    return draw(
        "recall",
        "Recall and false alarms as alpha moves",
        read="Choose the smallest alpha whose recall is still enough. Triangles should lie on "
        "the dotted line: then these normals get the rate that was asked for. Both scales are "
        "logarithmic.",
        alt="; ".join(
            f"alpha {found.alpha:g}: recall {found.recall:.3f}"
            for found in labelled.at
            if found.recall is not None
        ),
        on=on,
    )


def reasons(labelled: Labelled) -> Figure:
    true = labelled.evaluation.reasons_of_true_alarms
    false = labelled.evaluation.reasons_of_false_alarms
    names = list(dict.fromkeys([*list(true)[:SHOWN_REASONS], *list(false)[:SHOWN_REASONS]]))
    kinds = ((true, BLUE, "true alarms", -0.2), (false, ORANGE, "false alarms", 0.2))

    def on(ax: Axes) -> None:
        for counts, colour, label, offset in kinds:
            total = sum(counts.values()) or 1
            shares = [100 * counts.get(name, 0) / total for name in names]
            at = np.arange(len(names)) + offset
            ax.barh(at, shares, height=0.38, color=colour, label=label)
        ax.set_yticks(np.arange(len(names)), [short(name) for name in names])
        ax.set_ylim(len(names) - 0.4, -0.6)
        ax.set_xlabel("% of these alarms")
        ax.grid(False, axis="y")
        ax.legend()

    return draw(
        "reasons",
        "The columns behind true and false alarms",
        read="By each alarm's first reason. A column that is long in orange and short in blue "
        "costs budget without finding much: look at its values, or leave it out.",
        alt=f"True alarms: {_said(true)}. False alarms: {_said(false)}.",
        on=on,
        high=max(HIGH, 2 * ROW * len(names) + 0.7),
        left=room_for(names),
    )


def _said(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in list(counts.items())[:3]) or "none"


def _areas(figures: list[Figures], name: str) -> str:
    values = [(own.name, own.auroc if name == "AUROC" else own.auprc) for own in figures]
    return f"{name}: " + ", ".join(f"{n} {v:.4f}" for n, v in values if v is not None)


def _thin(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The curve with at most so many points, its ends among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).astype(int))
    return x[kept], y[kept]
