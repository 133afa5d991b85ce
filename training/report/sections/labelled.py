"""Labelled -> the section on how well anomalies are found, beside the peers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration
from vaewatch.training.report.blocks import Block, Facts, Grid, Plots, Section, Text, number
from vaewatch.training.report.figure import (
    BLUE,
    HIGH,
    MUTED,
    ORANGE,
    ROW,
    TEAL,
    VIOLET,
    Figure,
    bin_edges,
    draw,
    log_scale,
    room_for,
    short,
)
from vaewatch.training.report.sections.segments import alarms_by_segment

if TYPE_CHECKING:
    from vaewatch.training.report.labelled import Figures, Labelled

LEAD = "How well anomalies are found, and whether labelled normals alarm at the rate asked for."
NEEDS_LABELS = (
    "No labelled records were given. With them, vaewatch report ARTIFACT --labelled FILE adds ROC "
    "and precision-recall curves, recall and false alarms at several alphas, and the columns "
    "behind true and false alarms."
)
NEEDS_NORMAL = (
    "To compare it with a plain autoencoder, PCA and an isolation forest, give the records that "
    "the artifact was fitted to as --normal FILE: the peers are fitted to the same records."
)
OTHER_FIT = (
    "The peers were fitted to other records than the artifact: their fingerprints differ, so this "
    "does not compare detectors on the same fit data."
)
PEERS = (
    "All see the same features of the same fit records. The plain autoencoder has the same score "
    "and calibration, but no KL; PCA and the forest alarm from a quantile of their own fit "
    "scores, as is usual, which is why their false-alarm rate is rarely the one asked for."
)
BINS = 50
LINES = ((BLUE, "-"), (ORANGE, "--"), (TEAL, "-."), (VIOLET, ":"))
POINTS = 300  # of a curve; more cannot be seen
SHOWN_REASONS = 8


def labelled_section(labelled: Labelled | None, calibration: Calibration) -> Section:
    title = "With labels"
    if labelled is None:
        return Section("labelled", title, LEAD, (Text(NEEDS_LABELS),))
    blocks = (
        _facts(labelled),
        *_budget(labelled),
        _by_alpha(labelled),
        Plots(_plots(labelled, calibration)),
        *_peers(labelled),
    )
    return Section("labelled", title, LEAD, blocks)


def _facts(labelled: Labelled) -> Facts:
    found = labelled.evaluation
    expected = f"expected {found.expected}, {found.by_chance}"
    rows = [
        ("records", number(found.records)),
        ("anomalies", number(found.anomalies)),
        ("AUROC", _four(found.auroc)),
        ("AUPRC", _four(found.auprc)),
        (f"recall at alpha {found.alpha:g}", _four(found.recall)),
        ("precision", _four(found.precision)),
        ("false-alarm rate", _four(found.false_alarm_rate)),
        ("false alarms", f"{found.false_alarms:,}, {expected}"),
    ]
    if found.bounds:
        rows.append(("ELBO of the normals, nats", number(found.bounds.elbo)))
        name = f"importance-weighted bound, {found.bounds.draws} draws"
        rows.append((name, number(found.bounds.importance_weighted)))
    return Facts(rows)


def _four(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _budget(labelled: Labelled) -> list[Block]:
    found = labelled.evaluation
    if found.budget_p_value is None:
        return []
    if found.budget_holds:
        rates = "{:.2g} to {:.2g}".format(*found.rate_interval)
        words = (
            f"The alarm budget holds on these normals (p = {found.budget_p_value:.2g}): "
            f"{found.calibration_records:,} calibration records allow a true rate of {rates}."
        )
        return [Text(words), *alarms_by_segment(found.segments)]
    words = (
        "The alarm budget is BROKEN on these normals: chance gives such a count of false alarms "
        f"with probability {found.budget_p_value:.2g}. They are not exchangeable with the "
        "calibration records: recalibrate with recent ones."
    )
    return [Text(words, warning=True), *alarms_by_segment(found.segments)]


def _by_alpha(labelled: Labelled) -> Grid:
    rows = [
        (
            f"{found.alpha:g}",
            _four(found.recall),
            _four(found.precision),
            _four(found.false_alarm_rate),
            f"{found.false_alarms:,}",
            found.expected,
            number(found.budget_p_value, 2),
        )
        for found in labelled.at
    ]
    head = ("alpha", "recall", "precision", "false-alarm rate", "false alarms", "expected", "p")
    caption = "At each alpha; p: how probable so many false alarms are by chance"
    return Grid(caption, head, rows, numbers=tuple(range(7)))


def _peers(labelled: Labelled) -> list[Block]:
    if labelled.same_fit is None:
        return [Text(NEEDS_NORMAL)]
    alpha = labelled.evaluation.alpha
    rows = [
        (f.name, *map(_four, (f.auroc, f.auprc, f.recall, f.false_alarm_rate)))
        for f in labelled.figures()
    ]
    head = ("detector", "AUROC", "AUPRC", f"recall at {alpha:g}", f"false alarms at {alpha:g}")
    table = Grid("Beside its peers, on the same records", head, rows, numbers=(1, 2, 3, 4))
    return [table, Text(PEERS) if labelled.same_fit else Text(OTHER_FIT, warning=True)]


def _plots(labelled: Labelled, calibration: Calibration) -> list[Figure]:
    """Draw those that these records allow: curves take anomalies as well as normals."""
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
    edges = bin_edges(scores, BINS)
    threshold = calibration.threshold(calibration.alpha)
    assert threshold is not None

    def on(ax: Axes) -> None:
        for rows, colour, name in (
            (~labelled.anomaly, BLUE, "labelled normal"),
            (labelled.anomaly, ORANGE, "labelled anomaly"),
        ):
            if rows.any():
                weight = np.full(rows.sum(), 1 / rows.sum())
                look: dict[str, Any] = {"color": colour, "alpha": 0.5, "label": name}
                ax.hist(scores[rows], edges.tolist(), weights=weight, **look)
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
        read="Records to the right of the dashed line alarm. Anomalies to its left are missed; "
        "normals to its right are false alarms. Where the two overlap, no threshold separates "
        "them.",
        alt=f"{found.anomalies:,} anomalies and {found.records - found.anomalies:,} normals; "
        f"the threshold is {threshold:.4g}.",
        on=on,
    )


def roc(labelled: Labelled) -> Figure:
    from sklearn.metrics import roc_curve  # a second of imports that few pages need

    figures = labelled.figures()

    def on(ax: Axes) -> None:
        ax.plot([0, 1], [0, 1], color=MUTED, linestyle=":")
        for judged, own, (colour, style) in zip(labelled.judged, figures, LINES, strict=False):
            x, y, _ = roc_curve(labelled.anomaly, judged.scores)
            name = f"{judged.name} {own.auroc:.4f}"
            ax.plot(*_thin(x, y), color=colour, linestyle=style, label=name)
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
    from sklearn.metrics import precision_recall_curve

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
        read="Alarms by their first reason. A column that is long in orange and short in blue "
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
    """(N,), (N,) -> the same curve with at most POINTS points, its ends among them."""
    kept = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).astype(int))
    return x[kept], y[kept]
