"""`vaewatch evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaewatch.commands.options import (
    delimiter,
    feedback,
    normal_label,
    nulls,
    rejects,
    setting,
    sources,
)
from vaewatch.commands.options import merge_gap as merge_gap_option
from vaewatch.commands.parameters import Share
from vaewatch.commands.terminal import out, show_warnings

if TYPE_CHECKING:
    import polars as pl

    from vaewatch.scoring.scorer import Scorer
    from vaewatch.training.evaluate import Evaluation
    from vaewatch.training.feedback.evaluate import MarkedEvaluation
    from vaewatch.training.series.labelled.evaluate import SeriesEvaluation

REASONS, BAR = 5, 16  # columns that are shown, of true and of false alarms; characters of a bar


@click.command(epilog="Example:  vaewatch evaluate artifact labelled.csv --label is_fraud --json")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("labelled", nargs=-1, required=True, callback=sources)
@setting(
    "--label", metavar="COLUMN", help="Column of labels.  [default: the artifact's, else 'label']"
)
@normal_label()
@delimiter()
@nulls()
@rejects()
@setting("--alpha", type=Share(), help="False-alarm rate.  [default: the artifact's]")
@merge_gap_option()
@setting(
    "--draws",
    type=click.IntRange(1),
    default=64,
    help="Draws per record of the importance-weighted bound.",
)
@feedback("CSV of vaewatch feedback export, in place of labels: counts the marks that are found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    artifact: Path,
    labelled: tuple[str, ...],
    label: str | None,
    normal_labels: tuple[str, ...],
    delimiter: str | None,
    nulls: tuple[str, ...],
    rejects: str | None,
    alpha: float | None,
    merge_gap: str | None,
    draws: int,
    feedback: Path | None,
    as_json: bool,
) -> None:
    """Measure an artifact on labelled records.

    LABELLED: CSV, NDJSON, JSON (all also .gz, .zst) or Parquet: files, folders, globs, s3://,
    gs:// and abfs:// URLs, or - for standard input. A label of 0, false, no, ok, normal, benign,
    inlier, negative, legitimate, genuine, healthy or nominal is normal; so is one of a
    known pair, such as 1 beside -1, B beside M, ham beside spam, or "no fraud" beside "fraud". Any
    other is an anomaly. --normal-label names another one.

    An artifact with a window is measured on events, runs of anomalous records of one entity, in
    order of time whatever the order of the file is.

    With --feedback no labels are needed: it counts how many of the confirmed incidents are still
    found, and how many of the false alarms still come.
    """
    from vaewatch.scoring.budget.calibration import check_rate

    if alpha is not None:
        check_rate(alpha)  # before torch is imported and a file is read
    from vaewatch.scoring.scorer import Scorer
    from vaewatch.training.ahead import check_files, check_output

    scorer, rejected = Scorer.load(artifact), Path(rejects) if rejects else None
    reading = {"delimiter": delimiter, "nulls": nulls, "rejects": rejected}
    check_output(rejects)
    if feedback is not None:
        if label or normal_labels:
            raise click.UsageError("--feedback takes the place of labels: leave out the other.")
        return _print_marked(_marked(scorer, labelled, reading, feedback, alpha), as_json=as_json)
    label = label or scorer.artifact.schema.label or "label"
    check_files(labelled, label, delimiter)
    from vaewatch.training.records.labels import read_labels

    show_warnings()
    windowed = scorer.artifact.window is not None
    bounds = None if windowed else _bounds(artifact, draws)
    frame = _frame(labelled, scorer, keep=frozenset([label]), **reading)
    labels = read_labels(frame, label, normal_labels)
    found: Evaluation | SeriesEvaluation
    if windowed:
        from vaewatch.training.series.labelled.evaluate import evaluate_series

        found = evaluate_series(scorer, frame, labels, alpha)
    else:
        from vaewatch.scoring.incidents.rule import merge_gap_of
        from vaewatch.training.evaluate import evaluate as measure
        from vaewatch.training.records.seen import load_seen

        gap = merge_gap_of(merge_gap, timed=scorer.artifact.schema.time is not None)
        found = measure(scorer, frame, labels, alpha, bounds, load_seen(artifact), gap)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        _print(found)


def _frame(names: tuple[str, ...], scorer: Scorer, **reading: Any) -> pl.DataFrame:
    from vaewatch.training.records.read import read_frame
    from vaewatch.training.records.sample import Reading

    return read_frame(names, Reading(**reading), scorer.artifact.schema)


def _marked(
    scorer: Scorer,
    names: tuple[str, ...],
    reading: dict[str, Any],
    feedback: Path,
    alpha: float | None,
) -> MarkedEvaluation:
    """Measure an artifact on what people marked."""
    from vaewatch.training.ahead import check_feedback, check_files

    check_feedback(feedback)
    check_files(names)
    from vaewatch.training.feedback.evaluate import evaluate_marked
    from vaewatch.training.feedback.marks import read_marks

    show_warnings()
    frame = _frame(names, scorer, **reading)
    return evaluate_marked(scorer, frame, read_marks(feedback), alpha)


def _print_marked(found: MarkedEvaluation, *, as_json: bool) -> None:
    from vaewatch.commands.tables.feedback import print_marked

    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        print_marked(out(), found)


def _bounds(artifact: Path, draws: int) -> Any:
    from vaewatch.training.bounds import bounds_of_artifact

    return bounds_of_artifact(artifact, draws)


def _print(found: Evaluation | SeriesEvaluation) -> None:
    from vaewatch.commands.tables.evaluation import print_series
    from vaewatch.training.series.labelled.evaluate import SeriesEvaluation

    if isinstance(found, SeriesEvaluation):
        print_series(found, _labels(found))
    else:
        _print_evaluation(found)


def _print_evaluation(found: Evaluation) -> None:
    from vaewatch.commands.tables.evaluation import print_comparison
    from vaewatch.commands.terminal import print_fact, print_outlook

    console, indent = out(), 18

    def line(name: str, value: float | None, note: str = "") -> None:
        shown = "n/a" if value is None else f"{value:.4f}"
        print_fact(console, name, f"{shown}  {note}".rstrip(), indent)

    print_fact(
        console, "records", f"{found.records:,}, of them {found.anomalies:,} anomalies", indent
    )
    print_fact(console, "labels", _labels(found), indent)
    line("AUROC", found.auroc)
    line("AUPRC", found.auprc)
    line("recall", found.recall, f"at alpha {found.alpha:g}")
    line("precision", found.precision)
    expected = f"{found.expected} expected, {found.by_chance}"
    alarms = f"{found.false_alarms:,} alarms on normals, {expected}"
    line("false-alarm rate", found.false_alarm_rate, alarms)
    if found.budget_holds is not None:
        print_fact(console, "alarm budget", _budget_verdict(found), indent)
    _print_segments(found)
    if found.fitted_normals:
        note = (
            f"{found.fitted_normals:,} of the normals are records that the network was fitted to"
        )
        print_fact(console, "", f"{note}, which alarm too rarely: leave them out", indent)
    if found.bounds:
        b = found.bounds
        print_fact(
            console,
            "log p(x) >=",
            f"{b.elbo:.4g} (ELBO), {b.importance_weighted:.4g} (importance-weighted, {b.draws} "
            f"draws): mean nats of {b.records:,} normals",
            indent,
        )
    print_outlook(console, found.outlook)
    print_comparison(found.incidents, indent)
    _print_reasons(found)


def _print_segments(found: Evaluation) -> None:
    """Print the false alarms of each segment, where the artifact has one."""
    from vaewatch.commands.tables.segments import shown_segment
    from vaewatch.commands.terminal import print_table
    from vaewatch.scoring.budget.expected import tenths

    rows = []
    for each in found.segments:
        verdict = "no promise"
        if each.holds is not None:
            verdict = f"{'holds' if each.holds else 'BROKEN'} (p = {each.budget_p_value:.2g})"
        rows.append(
            (
                shown_segment(each.segment),
                f"{each.normals:,}",
                f"{each.false_alarms:,}",
                tenths(each.expected_false_alarms, bound=each.bound),
                f"{each.false_alarms / each.normals:.4f}",
                each.calibration,
                verdict,
            )
        )
    if rows:
        head = ("segment", "normals", "alarms", "expected", "rate", "calibration", "budget")
        print_table(out(), head, rows, right=(1, 2, 3, 4))


def _labels(found: Evaluation | SeriesEvaluation) -> str:
    def shown(names: tuple[str, ...]) -> str:
        more = f" and {len(names) - REASONS:,} more" if len(names) > REASONS else ""
        return f"{', '.join(names[:REASONS]) or 'none'}{more}"

    return f"normal: {shown(found.normal_labels)}; anomalies: {shown(found.anomaly_labels)}"


def _budget_verdict(found: Evaluation) -> str:
    if found.budget_holds:
        low, high = found.rate_interval
        return (
            f"holds (p = {found.budget_p_value:.2g}): {found.calibration_records:,} calibration "
            f"records allow a true rate of {low:.2g} to {high:.2g}"
        )
    return (
        f"BROKEN: chance gives such a count with probability {found.budget_p_value:.2g}. These "
        "normals are not exchangeable with the calibration records. If they have moved a little, "
        "vaewatch recalibrate with recent ones; it refuses where that would lose detection. If "
        "they keep moving, or it refuses, vaewatch train again, with --from this artifact on old "
        "and recent ones."
    )


def _print_reasons(found: Evaluation) -> None:
    """Print the columns that are the first reason of alarms, true alarms beside false ones."""
    from vaewatch.commands.terminal import bar, print_table

    console = out()
    true, false = found.reasons_of_true_alarms, found.reasons_of_false_alarms
    names = list(dict.fromkeys([*list(true)[:REASONS], *list(false)[:REASONS]]))
    if not names:
        return
    alarms = [sum(counts.values()) or 1 for counts in (true, false)]
    rows = []
    for name in names:
        cells = [name]
        for counts, total in zip((true, false), alarms, strict=True):
            count = counts.get(name, 0)
            cells += [f"{count:,}", bar(console, count / total, BAR)]
        rows.append(cells)
    console.print()
    head = ("first reason", "true", "alarms", "false", "alarms")
    print_table(console, head, rows, right=(1, 3))
