"""`vaewatch recalibrate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaewatch.commands.options import (
    delimiter,
    feedback,
    keep,
    normal_label,
    nulls,
    rejects,
    setting,
    sources,
)
from vaewatch.commands.parameters import Share
from vaewatch.commands.terminal import err, out, show_warnings

if TYPE_CHECKING:
    from vaewatch.training.calibration.detection import Detection
    from vaewatch.training.recalibrate import Recalibrated


@click.command(epilog="Example:  vaewatch recalibrate artifact recent.csv --out artifact-2")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("normal", nargs=-1, required=True, callback=sources)
@click.option(
    "--out", "target", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@setting("--alpha", type=Share(), help="False-alarm rate.  [default: the artifact's]")
@click.option(
    "--labelled",
    multiple=True,
    callback=sources,
    metavar="FILE",
    help="Labelled records to measure recall on, before and after; repeat for more.",
)
@setting(
    "--label", metavar="COLUMN", help="Column of labels.  [default: the artifact's, else 'label']"
)
@normal_label()
@delimiter()
@nulls()
@rejects()
@click.option(
    "--accept-lost-detection",
    is_flag=True,
    help="Write the artifact even if it no longer finds anomalies that the old one finds.",
)
@setting(
    "--calibrate",
    "calibrate_on",
    type=click.Choice(["all", "recent"]),
    default="all",
    help="recent: the latest records alone; for an artifact with a time.",
)
@feedback(
    "CSV of vaewatch feedback export: confirmed incidents are left out, and what each part of the "
    "score weighs is learned."
)
@click.option("--overwrite", is_flag=True, help="Replace an artifact that is there.")
@keep()
def recalibrate(
    artifact: Path,
    normal: tuple[str, ...],
    target: Path,
    alpha: float | None,
    labelled: tuple[str, ...],
    label: str | None,
    normal_labels: tuple[str, ...],
    delimiter: str | None,
    nulls: tuple[str, ...],
    rejects: str | None,
    accept_lost_detection: bool,
    calibrate_on: str,
    feedback: Path | None,
    overwrite: bool,
    keep: int,
) -> None:
    """Calibrate an artifact again on newer normal records: same weights, no training.

    It plants anomalies in these records and counts how many the old and the new calibration find.
    If the new one would lose them, because normal has changed too much for the network, nothing is
    written: train again, with --from ARTIFACT unless it has a window.

    NORMAL: records that it was not trained on, and normal ones only. CSV, NDJSON, JSON (all also
    .gz, .zst) or Parquet: files, folders, globs, s3://, gs:// and abfs:// URLs, or - for standard
    input.
    """
    from vaewatch.scoring.budget.calibration import check_rate

    if alpha is not None:
        check_rate(alpha)  # before torch is imported and a file is read
    from vaewatch.scoring.disk.reading import read_artifact
    from vaewatch.scoring.disk.versions import check_target
    from vaewatch.training.ahead import check_feedback, check_files, check_output

    check_target(target, overwrite=overwrite)
    schema = read_artifact(artifact).schema
    check_files(normal)
    check_files(labelled, label or schema.label or "label", delimiter)
    check_output(rejects)
    check_feedback(feedback)
    from vaewatch.commands.tables.segments import shown_segment
    from vaewatch.training.feedback.marks import read_marks
    from vaewatch.training.recalibrate import Recalibration, refit
    from vaewatch.training.recalibrate import recalibrate as run
    from vaewatch.training.records.read import read_frame
    from vaewatch.training.records.sample import Reading

    show_warnings()
    reading = Reading(delimiter, nulls, frozenset([label or "label"]))
    strict = replace(reading, rejects=Path(rejects) if rejects else None)
    records = read_frame(normal, strict, schema)
    asked = Recalibration(
        alpha=alpha,
        calibrate_on=calibrate_on,
        labelled=read_frame(labelled, reading, schema) if labelled else None,
        label=label,
        normal_labels=normal_labels,
        accept_lost_detection=accept_lost_detection,
        marks=None if feedback is None else read_marks(feedback),
        overwrite=overwrite,
        keep=keep,
    )
    done = run(artifact, records, target, asked)
    _print_change(done)
    _warn(done.detection, refit(done.scorer, artifact))
    if lost := [shown_segment(each.segment) for each in done.segments if each.lost]:
        names = ", ".join(f"'{name}'" for name in lost[:5]) + " and others" * (len(lost) > 5)
        recent = ", or leave out --calibrate recent" if calibrate_on == "recent" else ""
        err().print(
            f"warning: too few new records of {names} to certify alpha: the pooled calibration "
            f"judges them now, where they had one of their own. Give more of them{recent}."
        )


def _print_change(done: Recalibrated) -> None:
    from vaewatch.commands.tables.feedback import print_feedback
    from vaewatch.commands.tables.series import incident_counts, new_facts, worth
    from vaewatch.commands.terminal import print_fact, print_outlook, print_table

    artifact, console = done.scorer.artifact, out()
    summary = artifact.manifest.calibration
    low, high = summary.rate_interval_95
    print_fact(console, "version", f"{artifact.version}, parent {artifact.manifest.parent}")
    if done.left_out:
        print_fact(
            console, "left out", f"{done.left_out:,} records that the network was fitted to"
        )
    if done.heeded:
        print_feedback(console, artifact.manifest.feedback)
    print_fact(console, "threshold", _threshold(done.detection))
    rows = [
        (name, f"{old:.4g}", f"{new:.4g}")
        for name, old, new in (
            ("old scores", done.before.on_old, done.after.on_old),
            ("new normals", done.before.on_new, done.after.on_new),
        )
    ]
    print_table(console, ("alarm rate", "old calibration", "new calibration"), rows)
    _print_segments(done)
    _print_detection(done.detection)
    print_fact(
        console,
        "alarm budget",
        f"asked for {artifact.calibration.alpha:g}, {summary.n:,} new calibration records"
        f"{worth(artifact.manifest)}: the true rate lies between {low:.2g} and {high:.2g} (95%)",
    )
    for fact in new_facts(artifact.manifest):
        print_fact(console, *fact)
    if artifact.manifest.series is not None:
        counts = incident_counts(artifact.manifest)
        print_fact(console, "incidents", f"false ones per entity and day, by alpha: {counts}")
    print_outlook(console, artifact.manifest.outlook, windows=artifact.window is not None)


def _print_segments(done: Recalibrated) -> None:
    """Print what changed for each segment, where the artifact has one."""
    from vaewatch.commands.tables.segments import shown_segment
    from vaewatch.commands.terminal import print_table

    rows = [
        (
            shown_segment(each.segment),
            f"{each.records:,}",
            f"{each.before} -> {each.after}" if each.before != each.after else each.after,
            f"{each.rate_before:.4g}",
            f"{each.rate_after:.4g}",
        )
        for each in done.segments
    ]
    if rows:
        head = ("segment", "new normals", "calibration", "alarm rate, old", "new")
        print_table(out(), head, rows, right=(1, 3, 4))


def _threshold(detection: Detection) -> str:
    old, new = detection.old_threshold, detection.new_threshold
    times = f", {new / old:.3g} times as high" if old > 0 else ""
    return (
        f"{old:.4g} -> {new:.4g} nats at alpha {detection.alpha:g}{times}: that of alpha "
        f"{detection.old_alpha:.2g} in the old calibration"
    )


def _print_detection(detection: Detection) -> None:
    from vaewatch.commands.terminal import print_table

    found = dict(detection.anomalies)
    if detection.labelled and detection.labelled.normals:
        found["labelled normals"] = detection.labelled.normals
    rows = [
        (name, f"{shares.before:.4g}", f"{shares.after:.4g}") for name, shares in found.items()
    ]
    head = (f"alarms at alpha {detection.alpha:g}", "old calibration", "new calibration")
    print_table(out(), head, rows)


def _warn(detection: Detection, command: str) -> None:
    """Warn of anomalies that are no longer found, whatever the reason."""
    if detection.lowered:
        _warn_of(detection, "", command)
        return  # its segments are part of it
    for name, own in detection.segments.items():
        if own.lowered:
            _warn_of(own, f" in segment '{name}'", command)


def _warn_of(detection: Detection, where: str, command: str) -> None:
    names = ", ".join(f"'{name}'" for name in detection.lowered)
    err().print(
        f"warning: half or less is found of what the old calibration finds of {names}{where}. "
        f"By the old one {detection.alarms:.1%} of these normals alarm; chance alone gives so "
        f"many with probability {detection.chance:.2g}. If they have changed, fit to old and new "
        f"ones: {command}. If not, give more of them."
    )
