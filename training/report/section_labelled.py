"""labelled records -> the section on how well anomalies are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaewatch.scoring.calibration import Calibration
from vaewatch.training.report.blocks import Block, Facts, Grid, Plots, Section, Text, number

if TYPE_CHECKING:
    from vaewatch.training.report.labelled import Labelled

LEAD = "How well anomalies are found, and whether labelled normals get the rate that was asked."
NEEDS_LABELS = (
    "No labelled records were given. With some, vaewatch report ARTIFACT --labelled FILE adds ROC "
    "and precision-recall curves, recall and false alarms at several alphas, and the columns "
    "behind true and false alarms."
)
NEEDS_NORMAL = (
    "To set a plain autoencoder, PCA and an isolation forest beside it, give the records that the "
    "artifact was fitted to with --normal FILE: the peers are fitted to the same ones."
)
OTHER_FIT = (
    "The peers were fitted to other records than the artifact was: their fingerprints differ. "
    "The comparison is not on the same split."
)
PEERS = (
    "All see the same features of the same fit records. The plain autoencoder has the same score "
    "and calibration, but no KL; PCA and the forest alarm from a quantile of their own fit "
    "scores, as is usual, which is why their rate of false alarms is seldom what was asked."
)


def labelled_section(labelled: Labelled | None, calibration: Calibration) -> Section:
    title = "With labels"
    if labelled is None:
        return Section("labelled", title, LEAD, (Text(NEEDS_LABELS),))
    from vaewatch.training.report.plots_labelled import (
        plot_labelled,  # scikit-learn: only with labels
    )

    blocks: list[Block] = [_facts(labelled), *_budget(labelled), _by_alpha(labelled)]
    blocks.append(Plots(plot_labelled(labelled, calibration)))
    blocks += _peers(labelled)
    return Section("labelled", title, LEAD, blocks)


def _facts(labelled: Labelled) -> Facts:
    found = labelled.evaluation
    rows = [
        ("records", number(found.records)),
        ("anomalies", number(found.anomalies)),
        ("AUROC", _four(found.auroc)),
        ("AUPRC", _four(found.auprc)),
        (f"recall at alpha {found.alpha:g}", _four(found.recall)),
        ("precision", _four(found.precision)),
        ("false-alarm rate", _four(found.false_alarm_rate)),
        ("false alarms", f"{found.false_alarms:,}, expected {found.expected_false_alarms:,.1f}"),
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
        words = f"The alarm budget holds on these normals (p = {found.budget_p_value:.2g})."
        return [Text(words)]
    words = (
        "The alarm budget is BROKEN on these normals: chance gives such a count of false alarms "
        f"with probability {found.budget_p_value:.2g}. They are not exchangeable with the "
        "calibration records: recalibrate with recent ones."
    )
    return [Text(words, warning=True)]


def _by_alpha(labelled: Labelled) -> Grid:
    rows = [
        (
            f"{found.alpha:g}",
            _four(found.recall),
            _four(found.precision),
            _four(found.false_alarm_rate),
            f"{found.false_alarms:,}",
            f"{found.expected_false_alarms:,.1f}",
            number(found.budget_p_value, 2),
        )
        for found in labelled.at
    ]
    head = ("alpha", "recall", "precision", "false-alarm rate", "false alarms", "expected", "p")
    caption = (
        "What alpha gives on these records; p: how probable so many false alarms are by chance"
    )
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
