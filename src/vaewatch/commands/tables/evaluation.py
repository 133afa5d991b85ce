"""An evaluation of series, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vaewatch.scoring.incidents.labelled import Comparison
    from vaewatch.training.series.labelled.evaluate import EntityEvaluation, SeriesEvaluation

INDENT = 18
MOST = 20  # entities that are shown


def print_series(found: SeriesEvaluation, labels: str) -> None:
    """Print the figures of all entities, then those of each; `labels` says how they were read."""
    from vaewatch.commands.terminal import out, print_fact

    console = out()
    for name, text in _facts(found, labels):
        print_fact(console, name, text, INDENT)
    _print_entities(found.entities)


def print_comparison(found: Comparison | None, indent: int) -> None:
    """Print the incidents of alarms beside labelled ones, where there is a time."""
    from vaewatch.commands.terminal import out, print_fact

    if found is None:
        return
    labelled = (
        f"{found.found:,} found of {found.labelled:,} labelled, {found.rare:,} by one that is "
        f"rarer than 1 in 100 of chance; {found.split:,} split"
    )
    false = (
        f"{found.incidents:,} in all, {found.merged:,} merged wrongly, {found.false:,} false, "
        f"{found.false_rare:,} of them so rare"
    )
    print_fact(out(), "incidents", labelled, indent)
    print_fact(out(), "", false, indent)


def _facts(found: SeriesEvaluation, labels: str) -> list[tuple[str, str]]:
    from vaewatch.commands.tables.series import judged_text

    others = {"warming up": found.warming_up, "repeated": found.repeated}
    left_out = "".join(f", {number:,} {name}" for name, number in others.items() if number)
    records = f"{found.records:,}: {judged_text(found)}{left_out}"
    low, high = found.false_alarms_by_chance
    alarms = f"{found.false_alarms:,} alarms on {found.normals:,} normals"
    expected = f"up to {found.expected_false_alarms:,.1f} expected, {low:,} to {high:,} by chance"
    events = f"{found.found:,} found of {found.events:,}"
    if found.events_unjudged:
        events += f"; {found.events_unjudged:,} more had no record that was judged"
    return [
        ("records", f"{records}; of the judged {found.anomalies:,} anomalies"),
        ("labels", labels),
        ("events", events),
        ("delay", _delay(found)),
        ("AUROC", _number(found.auroc)),
        ("AUPRC", _number(found.auprc)),
        ("VUS-PR", f"{_number(found.vus_pr)}  with buffers of 0 to {found.buffer} records"),
        ("false-alarm rate", f"{_number(found.false_alarm_rate)}  {alarms}, {expected}"),
        *_budget(found),
        ("false incidents", found.false_incidents_words),
    ]


def _budget(found: SeriesEvaluation) -> list[tuple[str, str]]:
    from vaewatch.scoring.budget.expected import UNTOLD, untold

    if found.budget_holds is None:
        return []
    _, high = found.false_alarms_by_chance
    if found.budget_holds and untold(found.false_alarms, found.expected_false_alarms, high):
        little = f"more alarms than expected, {UNTOLD}"
        return [("alarm budget", f"cannot be told at alpha {found.alpha:g}: {little}")]
    if found.budget_holds:
        return [("alarm budget", f"holds at alpha {found.alpha:g}: chance explains the alarms")]
    broken = (
        f"BROKEN at alpha {found.alpha:g}: more alarms than chance explains. These spans are not "
        "like those of the fit: vaewatch train again, on old and recent ones."
    )
    return [("alarm budget", broken)]


def _delay(found: SeriesEvaluation) -> str:
    if found.delay_records is None or found.delay_seconds is None:
        return "n/a"
    records, seconds = f"{found.delay_records:g}", f"{found.delay_seconds:,.6g}"
    return f"{records} records, {seconds} s: the median from event start to first alarm"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.4f}"


def _print_entities(entities: tuple[EntityEvaluation, ...]) -> None:
    """Print the entities with most anomalies first, where there are several."""
    from vaewatch.commands.terminal import out, print_table

    if len(entities) < 2:
        return
    shown = sorted(entities, key=lambda each: (-each.anomalies, -each.false_incidents))[:MOST]
    rows = [
        (
            str(each.entity),
            f"{each.judged:,}",
            f"{each.anomalies:,}",
            f"{each.events:,}",
            f"{each.found:,}",
            f"{each.false_incidents:,}",
            _number(each.auroc),
            _number(each.auprc),
            _number(each.vus_pr),
        )
        for each in shown
    ]
    head = ("entity", "judged", "anomalies", "events", "found", "false incidents")
    console = out()
    console.print()
    print_table(console, (*head, "AUROC", "AUPRC", "VUS-PR"), rows, right=range(1, 9))
    if len(entities) > MOST:
        console.print(f"and {len(entities) - MOST:,} more: --json has them all")
