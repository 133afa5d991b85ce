"""What was taken from feedback, as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vaewatch.commands.terminal import print_fact, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from vaewatch.scoring.incidents.feedback import FeedbackSummary
    from vaewatch.training.feedback.evaluate import Alarming, MarkedEvaluation
    from vaewatch.training.feedback.precision import Precision, Precisions

MOST_ROWS = 10  # of a table: those with most marks, or the last weeks


def print_feedback(console: Console, found: FeedbackSummary | None) -> None:
    """Print which marks were given, and what the parts of the score weigh since."""
    for name, text in feedback_facts(found):
        print_fact(console, name, text)


def feedback_facts(found: FeedbackSummary | None) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of these lines; none without feedback."""
    if found is None:
        return
    unknown = found.without_records
    rest = f"; {unknown:,} of these marks have no record here" if unknown else ""
    yield (
        "feedback",
        f"{found.confirmed:,} confirmed ({found.left_out:,} records left out), "
        f"{found.false_alarms:,} false alarm{'' if found.false_alarms == 1 else 's'}, "
        f"{found.expected:,} expected{rest}",
    )
    yield "weights", _weights(found)


def _weights(found: FeedbackSummary) -> str:
    factors = f"KL x {found.kl_factor:.3g}, neighbour x {found.neighbour_factor:.3g}"
    if found.gain is None or found.gain_error is None:
        return f"{factors}: too few marks, or a window, to try others"
    gain = f"{found.gain:+.2g} nats a mark (standard error {found.gain_error:.2g})"
    if found.gain > found.gain_error:
        return f"{factors}: they foretell marks better by {gain}"
    return f"{factors}: others would foretell marks by {gain}, which shows no gain"


def print_marked(console: Console, found: MarkedEvaluation) -> None:
    """Print how much of what people marked alarms."""
    indent = 18
    print_fact(
        console,
        "records",
        f"{found.records:,}, of which {found.alarms:,} alarm at alpha {found.alpha:g}",
        indent,
    )
    print_fact(console, "confirmed", _alarming(found.confirmed, "are found"), indent)
    print_fact(console, "false alarms", _alarming(found.false_alarms, "still alarm"), indent)
    if found.expected.marks:
        print_fact(console, "expected", _alarming(found.expected, "alarm"), indent)
    unmarked = f"{found.unmarked:,} records, of which {found.unmarked_alarms:,} alarm"
    print_fact(console, "unmarked", unmarked, indent)
    if found.precision.all is not None:
        print_fact(console, "precision", _precision(found.precision.all), indent)
    print_precisions(console, found.precision)


def print_precisions(console: Console, found: Precisions) -> None:
    """Print how many of the marks of each column, group and week were confirmed."""
    for head, some in (
        ("column", found.columns[:MOST_ROWS]),
        ("group", found.groups[:MOST_ROWS]),
        ("week from", found.weeks[-MOST_ROWS:]),
    ):
        if some:
            rows = [_row(each) for each in some]
            print_table(console, (head, "confirmed", "false", "share", "95%"), rows, (1, 2, 3))


def _row(each: Precision) -> tuple[str, ...]:
    low, high = each.interval
    counts = f"{each.confirmed:,}", f"{each.false_alarms:,}", f"{each.share:.2f}"
    return (each.name, *counts, f"{low:.2f} to {high:.2f}")


def _precision(found: Precision) -> str:
    low, high = found.interval
    return (
        f"{found.confirmed:,} of {found.confirmed + found.false_alarms:,} marks that judge are "
        f"confirmed: {found.share:.2f} ({low:.2f} to {high:.2f}, 95%)"
    )


def _alarming(found: Alarming, verb: str) -> str:
    if found.share is None or found.interval is None:
        return f"{found.marks:,} marks, none of which has a record here"
    rest = found.marks - found.found
    more = f"; {rest:,} more have no record here" if rest else ""
    low, high = found.interval
    return (
        f"{found.alarming:,} of {found.found:,} marks {verb}: {found.share:.2f} "
        f"({low:.2f} to {high:.2f}, 95%); {found.alarms:,} of {found.records:,} records{more}"
    )
