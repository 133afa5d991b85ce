"""Manifest, Calibration -> the section on the alarm budget, and how certain it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from vaewatch.scoring.budget.calibration import Calibration, allowed_rank, records_for_precision
from vaewatch.scoring.budget.described import shown_alphas, words_of_passing
from vaewatch.scoring.budget.expected import Expected
from vaewatch.scoring.budget.summary import CalibrationSummary
from vaewatch.scoring.manifest import Manifest
from vaewatch.training.report.blocks import Block, Facts, Grid, Plots, Section, Text, number, share
from vaewatch.training.report.figure import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    STYLES,
    TEAL,
    VIOLET,
    Figure,
    draw,
    log_scale,
)
from vaewatch.training.report.sections.segments import calibrations_by_segment

EXAMPLE = 10_000  # records, of which the alarms are foretold
SHOWN_SHARES = (0.005, 0.01, 0.02, 0.05)
SHARES = np.linspace(0, 0.06, 61)


def budget_section(manifest: Manifest, calibration: Calibration) -> Section:
    summary = manifest.calibration
    low, high = summary.rate_interval_95
    reachable = summary.reachable
    ties = f"{reachable[0]:.2g}, next {reachable[1]:.2g}" if reachable else "no ties"
    facts = Facts(
        (
            (
                "asked for",
                f"{calibration.alpha:g}, one false alarm in {1 / calibration.alpha:,.0f}",
            ),
            ("true rate, 95%", f"{low:.2g} to {high:.2g}"),
            (f"alarms in {EXAMPLE:,} normal records", Expected.at(calibration, EXAMPLE).number),
            ("calibration records", number(calibration.n)),
            ("rule", summary.rule),
            ("for ± 20% of alpha", f"{summary.records_for_20_percent:,} records"),
            ("rates at the threshold", ties),
            ("least alpha possible", number(summary.least_alpha, 2)),
        )
    )
    blocks: tuple[Block, ...] = (
        facts,
        Text(f"{summary.rule.capitalize()}: {summary.rule_means}"),
        Text(f"What it assumes: {summary.assumes}"),
        Text(f"Contamination: {summary.contamination}"),
        *_to_do(summary, calibration),
        *calibrations_by_segment(manifest),
    )
    lead = "How often normal records alarm: the rate asked for, and how far to trust it."
    return Section("budget", "The alarm budget", lead, blocks)


def _to_do(summary: CalibrationSummary, calibration: Calibration) -> Iterator[Text]:
    low, high = summary.rate_interval_95
    yield Text(
        f"What to do: expect between {low:.2g} and {high:.2g} of normal records to alarm. If that "
        f"is too wide, {summary.records_for_20_percent:,} calibration records bring it within "
        "20% of the rate asked for: train on more, or vaewatch recalibrate. When the source "
        "changes the promise ends: train again, or at least recalibrate, on recent normal records."
    )
    if summary.reachable:
        yield Text(
            f"Ties: many calibration records have the same score, so alpha {calibration.alpha:g} "
            f"gives {summary.reachable[0]:.2g}; the next rate that can be had is "
            f"{summary.reachable[1]:.2g}.",
            warning=True,
        )
    if passing := words_of_passing(summary, calibration.alpha):
        yield Text(f"Unseen values: {passing}", warning=True)
    if summary.tail:
        columns = ", ".join(f"{name} ({own:.0%})" for name, own in summary.tail.items())
        yield Text(
            f"Tail: the highest scores of normal records come from rare values in {columns}; "
            "anomalies that score less are not found. More records do not help; leaving these "
            "columns out, or a larger alpha, does.",
            warning=True,
        )


def alphas_section(calibration: Calibration) -> Section:
    blocks = (
        _by_alpha(calibration),
        Plots((budget(calibration), contamination(calibration))),
        _by_contamination(calibration),
    )
    lead = "What the same records certify at other rates, and what anomalies among them cost."
    return Section("alphas", "Other alarm budgets", lead, blocks)


def _by_alpha(calibration: Calibration) -> Grid:
    rows = []
    for alpha in shown_alphas(calibration):
        low, high = calibration.rate_law(alpha).interval()
        rows.append(
            (
                f"{alpha:g}",
                number(calibration.threshold(alpha)),
                number(allowed_rank(alpha, calibration.n)),
                f"{low:.2g} to {high:.2g}",
                number(round(records_for_precision(alpha) * calibration.alike)),
            )
        )
    head = ("alpha", "threshold", "records above", "true rate, 95%", "records for ± 20%")
    return Grid("The budget at other alphas", head, rows, numbers=(0, 1, 2, 3, 4))


def _by_contamination(calibration: Calibration) -> Grid:
    alphas = shown_alphas(calibration)
    rows = [
        (share(planted), *(number(float(_rate(alpha, planted)), 2) for alpha in alphas))
        for planted in SHOWN_SHARES
    ]
    head = ("anomalies in the file", *(f"alpha {alpha:g} becomes" for alpha in alphas))
    caption = "Least false-alarm rate that is left when the file of normals holds anomalies"
    return Grid(caption, head, rows, numbers=tuple(range(len(head))))


def _rate(alpha: float, planted: float) -> float:
    return float(contamination_rate(alpha, np.array([planted]))[0])


def budget(calibration: Calibration) -> Figure:
    n, asked = calibration.n, calibration.alpha
    most = max(0.2, 2 * asked)
    ranks = np.unique(np.geomspace(1, max(most * (n + 1), 1), 60).astype(int))
    grid = np.minimum(ranks / (n + 1), 0.999)  # between two ranks nothing is gained
    laws = np.array([calibration.rate_law(float(a)).interval() for a in grid])
    low, high = calibration.rate_law().interval()

    def on(ax: Axes) -> None:
        ax.fill_between(grid, *(laws / grid[:, None]).T, color=BLUE, alpha=0.25, linewidth=0,
                        label="true rate, 95%")  # fmt: skip
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
        read="At 1, normal records alarm as often as asked. The band is where the true rate may "
        "lie, by the luck of the calibration records: it opens to the left, where fewer of them "
        "decide. More records make it narrower.",
        alt=f"Asked for {asked:g}, the true rate lies between {low:.2g} and {high:.2g} (95%).",
        on=on,
    )


def contamination_rate(alpha: float, planted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the false-alarm rates at (N,) planted shares of anomalies among the calibration
    records, if all of those score higher: (alpha - share) / (1 - share), and at least 0.
    """
    return np.maximum((alpha - planted) / (1 - planted), 0.0)


def contamination(calibration: Calibration) -> Figure:
    alphas = shown_alphas(calibration)[:4]

    def on(ax: Axes) -> None:
        colours = (BLUE, ORANGE, TEAL, VIOLET)
        for alpha, colour, style in zip(alphas, colours, ("-", *STYLES), strict=False):
            rate = contamination_rate(alpha, SHARES) / alpha
            ax.plot(100 * SHARES, rate, color=colour, linestyle=style, label=f"alpha {alpha:g}")
        ax.set_xlabel("anomalies among the calibration records, %")
        ax.set_ylabel("rate of normal records / alpha", color=INK)
        ax.legend()

    return draw(
        "contamination",
        "What anomalies in the file of normal records do to the budget",
        read="Each line starts at 1, for a clean file. Anomalies with the highest scores use up "
        "the budget: normal records alarm less often, and similar anomalies are no longer found.",
        alt="; ".join(
            f"alpha {a:g} with 1% planted: {contamination_rate(a, np.array([0.01]))[0]:.2g}"
            for a in alphas
        ),
        on=on,
    )
