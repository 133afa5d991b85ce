"""findings -> the sections on the data, the fit, the latent space and the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vaewatch.training.report.blocks import Block, Facts, Grid, Plots, Section, Text, number, share
from vaewatch.training.report.findings import Findings
from vaewatch.training.report.plots_fit import (
    active_units,
    bound_curve,
    explained,
    parts_curve,
    pit,
    posterior_means,
    reliability,
    traversals,
)

FOLD_FROM = 12  # rows of a table that are not shown at once


def data_section(manifest: Mapping[str, Any], found: Findings) -> Section:
    metrics = manifest["metrics"]
    facts = Facts(
        (
            ("records given", number(manifest["records_given"])),
            ("records read", number(metrics["records"])),
            ("records fitted to", number(metrics["fit_records"])),
            ("trimmed as suspects", number(metrics["trimmed_records"])),
            ("columns", number(len(found.columns))),
            ("features that they give", number(metrics["features"])),
        )
    )
    warned = [(c.name, " ".join(c.warnings)) for c in found.columns if c.warnings]
    columns = [
        (c.name, c.kind, share(c.missing), _distinct(c.distinct), c.values) for c in found.columns
    ]
    blocks: list[Block] = [facts]
    if warned:
        caption = "Columns to look at before the rest is believed"
        blocks.append(Grid(caption, ("column", "what was found"), warned))
    else:
        blocks.append(Text("No column looks like an id, is near-constant, or lies far out."))
    head = ("column", "kind", "missing", "distinct", "values")
    folded = len(columns) > FOLD_FROM
    caption = f"Every column, in {found.profiled:,} fit records"
    blocks.append(Grid(caption, head, columns, folded, numbers=(2, 3)))
    lead = "What the fit records hold, and what in them would mislead a detector."
    return Section("data", "The data", lead, blocks)


def _distinct(count: int | None) -> str:
    return "many" if count is None else number(count)


def fit_section(manifest: Mapping[str, Any], found: Findings, *, kl: bool) -> Section:
    last, training = found.log[-1], manifest["training"]
    best = max(found.log, key=lambda line: -(line.out_of_bag_nll + line.out_of_bag_kl))
    gap = last.out_of_bag_nll + last.out_of_bag_kl - last.in_bag_nll - last.in_bag_kl
    facts = Facts(
        (
            ("members", f"{training['members']}, of them {training['served']} score"),
            ("steps", f"{last.step:,}, {_epochs(found)} epochs"),
            ("best out of bag at step", number(best.step)),
            ("ELBO out of bag" if kl else "log-likelihood out of bag", _bound(found)),
            ("gap to in bag, nats", number(gap)),
            ("active latent units a member", _active(found)),
        )
    )
    words = (
        "Each member never sees two of the folds, so each record is out of bag in two members: "
        "an honest measure without a validation set. All steps are taken; nothing stops early. "
    )
    words += (
        "ELBO = -(reconstruction + KL) is a lower bound of log p(x), in nats a record of "
        "standardised features, with the noise that the encoder is shown."
        if kl
        else "An autoencoder has no KL and no bound: the log-likelihood is of its reconstruction."
    )
    plots = [bound_curve(found, kl=kl), *([parts_curve(found)] if kl else [])]
    lead = "Whether the stack learned the records, and whether it learned them by heart."
    return Section("fit", "The fit", lead, (facts, Text(words), Plots(plots)))


def _active(found: Findings) -> str:
    least, most = min(found.latent.active), max(found.latent.active)
    return f"{least if least == most else f'{least} to {most}'} of {found.latent.of}"


def _epochs(found: Findings) -> str:
    """Steps in which a member sees as many records as it may see."""
    epochs = found.log[-1].step * found.batch / found.seen
    return f"{epochs:,.0f}" if epochs >= 10 else f"{epochs:.1f}"


def _bound(found: Findings) -> str:
    last = found.log[-1]
    return number(-(last.out_of_bag_nll + last.out_of_bag_kl))


def latent_section(found: Findings, *, kl: bool) -> Section:
    rows = [
        (f"z{unit.index + 1}", *moved)
        for unit in found.latent.units
        for moved in unit.moved
    ]  # fmt: skip
    ends = ("at -2", "at 2") if kl else ("2 deviations below", "2 deviations above")
    table = Grid(
        "What is expected at either end of the most active units",
        ("unit", "column", *ends),
        rows,
        folded=len(rows) > FOLD_FROM,
    )
    plots = Plots((posterior_means(found, kl=kl), active_units(found), traversals(found)))
    lead = "What the code holds: each unit is a way in which normal records differ."
    return Section("latent", "The latent space", lead, (plots, table))


def reconstruction_section(found: Findings) -> Section:
    rows = [
        (fit.name, number(fit.explained, 3), "" if fit.central is None else share(fit.central))
        for fit in found.fits
    ]
    table = Grid(
        f"Every column, of {found.judged:,} records by the members that did not see them",
        ("column", "explained", "residuals in the central 90 %"),
        rows,
        folded=len(rows) > FOLD_FROM,
        numbers=(1, 2),
    )
    plots = []
    if any(fit.explained is not None for fit in found.fits):
        plots.append(explained(found))
    if any(fit.pit for fit in found.fits):
        plots.append(pit(found))
    if found.reliability is not None:
        plots.append(reliability(found.reliability))
    words = Text(
        "The score divides each residual by how much it varies out of bag, and by how residuals "
        "go together. PIT is the share of a normal law below a residual: if the spread is right "
        "every tenth holds a tenth of them. The alarm budget does not rest on this: it is "
        "calibrated on the scores themselves."
    )
    lead = "How well each column is expected from the others, and how sure that is."
    return Section("reconstruction", "Reconstruction", lead, (words, Plots(plots), table))
