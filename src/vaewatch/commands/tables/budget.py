"""The alarm budget of a fit, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaewatch.scoring.manifest import Manifest
    from vaewatch.scoring.scorer import Scorer


def print_budget(scorer: Scorer) -> None:
    """Print what was asked for, how far to trust it, and what other alphas would be worth."""
    from vaewatch.commands.tables.segments import print_segments
    from vaewatch.commands.tables.series import new_facts, print_incidents, worth
    from vaewatch.commands.terminal import out, print_fact, print_outlook, print_table
    from vaewatch.scoring.budget.described import shown_alphas

    console, calibration = out(), scorer.artifact.calibration
    manifest = scorer.artifact.manifest
    summary, alpha = manifest.calibration, calibration.alpha
    low, high = summary.rate_interval_95
    one_in = f"one false alarm in {1 / alpha:,.0f} normal records"
    print_fact(console, "alarm budget", f"{_asked(manifest)}: {one_in}")
    print_fact(
        console,
        "",
        f"{calibration.n:,} calibration records ({calibration.rule}){worth(manifest)}: the true "
        f"rate lies between {low:.2g} and {high:.2g} (95%)",
    )
    if summary.reachable:
        print_fact(console, "", _reachable(*summary.reachable))
    if summary.tail:
        print_fact(console, "", _tail(summary.tail))
    wish = _wish(manifest)
    if wish and summary.records_for_20_percent > calibration.n and not summary.reachable:
        print_fact(console, "", f"within 20% of {alpha:g} takes {wish}")
    for fact in new_facts(manifest):
        print_fact(console, *fact)
    rows = [_budget_row(scorer, a) for a in shown_alphas(calibration)]
    incidents = () if manifest.series is None else ("incidents a day",)
    head = ("alpha", "one in", "threshold", "true rate, 95%", *incidents, "")
    print_table(console, head, rows, right=range(len(head) - 1))
    print_incidents(console, manifest)
    print_segments(console, manifest)
    print_outlook(console, manifest.outlook, windows=manifest.window is not None)


def _wish(manifest: Manifest) -> str:
    """Say what brings the interval within 20% of alpha; of ties, more records bring more."""
    from vaewatch.scoring.budget.in_words import days
    from vaewatch.scoring.budget.windows import days_for_precision

    summary, series, window = manifest.calibration, manifest.series, manifest.window
    if series is None or window is None:
        return f"{summary.records_for_20_percent:,} calibration records"
    long = days_for_precision(summary, series, window)
    of = "this series" if series.entities == 1 else f"these {series.entities:,} entities"
    return "" if long is None else f"{days(long)} of {of}"


def _asked(manifest: Manifest) -> str:
    """Say what was asked for: a rate, or incidents that chose one."""
    wanted = manifest.training.incidents_per_day
    if wanted is None:
        return f"asked for {manifest.alpha:g}"
    return f"alpha {manifest.alpha:g}, for {wanted:g} false incidents per entity and day as asked"


def _tail(shares: Mapping[str, float]) -> str:
    columns = ", ".join(f"{name} ({share:.0%})" for name, share in shares.items())
    return (
        f"the highest scores of normal records come from rare values in {columns}: anomalies that "
        "score less are not found. If it says nothing how rare they are, leave such columns out "
        "with --ignore; or ask for a larger alpha."
    )


def _reachable(rate: float, above: float) -> str:
    return (
        f"records tie at the threshold: the rates next to it are {rate:.2g} and {above:.2g}, and "
        "verdicts keep to the lower"
    )


def _budget_row(scorer: Scorer, alpha: float) -> tuple[str, ...]:
    from vaewatch.commands.tables.series import incidents_at
    from vaewatch.scoring.budget.calibration import block_law

    calibration, series = scorer.artifact.calibration, scorer.artifact.manifest.series
    law, own = calibration.rate_law(alpha), []
    if series is not None:
        law = block_law(calibration, alpha, series.blocks)
        own = [incidents_at(scorer.artifact.manifest, f"{alpha:g}")]
    low, high = law.interval()
    asked = "asked for" if alpha == calibration.alpha else ""
    rate = f"{low:.2g} to {high:.2g}"
    threshold = f"{calibration.threshold(alpha):.4g}"
    return f"{alpha:g}", f"{1 / alpha:,.0f}", threshold, rate, *own, asked
