"""manifest, calibration -> the sections on scores, the alarm budget, and the model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaewatch.scoring.calibration import Calibration, allowed_rank, rate_interval
from vaewatch.training.calibration.calibrate import records_for_precision, shown_alphas
from vaewatch.training.report.blocks import Facts, Grid, Plots, Section, Text, number, share
from vaewatch.training.report.plots_budget import (
    budget,
    contamination,
    contamination_rate,
    score_distribution,
    tail,
)

PLANTED = (0.005, 0.01, 0.02, 0.05)


def score_section(calibration: Calibration) -> Section:
    lead = "What normal records score when the network has not seen them, and where alarms begin."
    words = Text(
        "A verdict is p-value <= alpha, where the p-value is (1 + calibration scores at least as "
        "high) / (n + 1). The thresholds are the same thing in nats, for people."
    )
    plots = Plots((score_distribution(calibration), tail(calibration)))
    return Section("scores", "Scores", lead, (words, plots))


def budget_section(manifest: Mapping[str, Any], calibration: Calibration) -> Section:
    summary = manifest["calibration"]
    low, high = summary["rate_interval_95"]
    facts = Facts(
        (
            (
                "asked for",
                f"{calibration.alpha:g}, one false alarm in {1 / calibration.alpha:,.0f}",
            ),
            ("true rate, 95 %", f"{low:.2g} to {high:.2g}"),
            ("calibration records", number(calibration.n)),
            ("rule", summary["rule"]),
            ("for ± 20 % of alpha", f"{summary['records_for_20_percent']:,} records"),
            ("least alpha possible", number(summary["least_alpha"], 2)),
        )
    )
    blocks = (
        facts,
        Text(f"{summary['rule'].capitalize()}: {summary['rule_means']}"),
        Text(f"What it assumes: {summary['assumes']}"),
        _by_alpha(calibration),
        Plots((budget(calibration), contamination(calibration))),
        Text(f"Contamination: {summary['contamination']}"),
        _by_contamination(calibration),
    )
    lead = "How often a normal record alarms: what was asked, and what is certain of it."
    return Section("budget", "The alarm budget", lead, blocks)


def _by_alpha(calibration: Calibration) -> Grid:
    rows = []
    for alpha in shown_alphas(calibration):
        low, high = rate_interval(alpha, calibration.n)
        rows.append(
            (
                f"{alpha:g}",
                number(calibration.threshold(alpha)),
                number(allowed_rank(alpha, calibration.n)),
                f"{low:.2g} to {high:.2g}",
                number(records_for_precision(alpha)),
            )
        )
    head = ("alpha", "threshold", "records above", "true rate, 95 %", "records for ± 20 %")
    return Grid("The budget at other alphas", head, rows, numbers=(0, 1, 2, 3, 4))


def _by_contamination(calibration: Calibration) -> Grid:
    alphas = shown_alphas(calibration)
    rows = [
        (share(planted), *(number(float(_rate(alpha, planted)), 2) for alpha in alphas))
        for planted in PLANTED
    ]
    head = ("anomalies in the file", *(f"alpha {alpha:g} becomes" for alpha in alphas))
    caption = "False-alarm rate that is left, at worst, when a file of normals holds anomalies"
    return Grid(caption, head, rows, numbers=tuple(range(len(head))))


def _rate(alpha: float, planted: float) -> float:
    return float(contamination_rate(alpha, np.array([planted]))[0])


def card_section(manifest: Mapping[str, Any]) -> Section:
    names = {k: v for k, v in manifest["training"].items() if v not in (None, (), [], {})}
    facts = [
        ("version", manifest["version"]),
        ("seed", str(manifest["training"]["seed"])),
        ("fingerprint of the fit data", manifest["data_fingerprint"]),
        ("format version", str(manifest["format_version"])),
        ("libraries", ", ".join(f"{k} {v}" for k, v in manifest["libraries"].items())),
        ("settings", ", ".join(f"{k} = {v}" for k, v in names.items())),
    ]
    for key, name in (
        ("parent", "parent, whose weights these are"),
        ("calibration_fingerprint", "fingerprint of the calibration data"),
    ):
        if key in manifest:
            facts.insert(1, (name, manifest[key]))
    return Section(
        "card",
        "Model card",
        "What it is for, what it is not for, and how to get the same again.",
        (Text(INTENDED), Text(LIMITS), Text(REASONS), Facts(facts)),
    )


INTENDED = (
    "Intended use: to point out records that are unlike the normal records it was fitted to, at a "
    "rate of false alarms that was chosen beforehand, for a person or a program to look into."
)
LIMITS = (
    "Limits: an alarm says unusual, not harmful, and an anomaly that looks like a normal record "
    "is not found. Records are judged one at a time: an order, a rate or a repetition is not seen "
    "unless a column holds it. After a change in the source the alarm budget no longer holds; "
    "vaewatch evaluate and the service's metrics tell, vaewatch recalibrate mends it. Groups "
    "that are rare in the fit records alarm more often than others: check that before people are "
    "affected by it."
)
REASONS = (
    "Reasons name the columns with the largest shares of the reconstruction part of the score. "
    "They say where a record departs from what was expected, not what caused it."
)
