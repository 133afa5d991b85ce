"""`vaewatch replay`."""

from __future__ import annotations

import dataclasses
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaewatch.commands.options import config_file, merge_gap, setting, sources, target, writing
from vaewatch.commands.terminal import out, print_outlook, show_warnings
from vaewatch.threads import cores, products_on_one_thread

if TYPE_CHECKING:
    from vaewatch.batch.replay.outcome import AlertReplay, Replay
    from vaewatch.scoring.budget.calibration import Calibration
    from vaewatch.scoring.incidents.stream import Stream
    from vaewatch.scoring.scorer import Scorer


def _alphas(ctx: click.Context, param: click.Parameter, text: str | None) -> list[float] | None:
    try:
        return [float(alpha) for alpha in text.split(",")] if text else None
    except ValueError:
        raise click.BadParameter(f"must be rates separated by commas, got '{text}'.") from None


def _drawable(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a plot that cannot be drawn here before the work, not after it."""
    if path is None:
        return None
    if path.suffix.lower() not in (".svg", ".png"):
        raise click.BadParameter(f"must be a file that ends in .svg or .png, got '{path}'.")
    if path.suffix.lower() == ".png":
        importlib.import_module("PIL.ImageDraw")
    return path


EARLY = 1990  # records of before may have other numbers than seconds since 1970


@click.command(epilog="Example:  vaewatch replay artifact last-month.csv --time created_at")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True, callback=sources)
@click.option(
    "--time",
    metavar="COLUMN",
    help="Says when a record was made.  [default: the artifact's time]",
)
@config_file()
@setting(
    "--alphas", metavar="A,B,...", callback=_alphas, help="[default: the artifact's, and 1/10]"
)
@setting("--threads", type=click.IntRange(1), help="Cores to use.  [default: all]")
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=_drawable,
    help="Draw the hours, as .svg or .png.",
)
@setting(
    "--incidents",
    metavar="FILE",
    callback=target,
    help="Write the incidents at the first alpha, as .ndjson, .csv or .parquet.",
)
@merge_gap()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with each hour.")
def replay(
    artifact: Path,
    sources: tuple[str, ...],
    time: str | None,
    alphas: list[float] | None,
    threads: int | None,
    plot: Path | None,
    incidents: str | None,
    merge_gap: str | None,
    as_json: bool,
) -> None:
    """Count the alarms that past records would have raised, by hour and day.

    INPUT: as for `vaewatch score`. Times without an offset are of the artifact's zone, or UTC if
    it has no time; numbers are seconds, or by their size milli-, micro- or nanoseconds.
    """
    products_on_one_thread()
    show_warnings()
    from vaewatch.batch.incidents.collector import counts_of
    from vaewatch.batch.incidents.file import save_incidents
    from vaewatch.batch.replay.plot import write_plot
    from vaewatch.batch.replay.replay import replay as run
    from vaewatch.batch.writer import locked
    from vaewatch.scoring.scorer import Scorer

    scorer = Scorer.load(artifact)
    time = time or _own_time(scorer)
    chosen = alphas or _usual_alphas(scorer.artifact.calibration)
    stream = None if incidents is None else _stream(scorer, incidents, merge_gap, chosen[0])
    with writing(plot), locked(incidents):
        found = run(scorer, sources, time, chosen, threads or cores(), stream)
        if stream is not None and incidents is not None:
            save_incidents(stream, incidents)
            found = dataclasses.replace(found, incidents=counts_of(stream))
        if plot is not None:
            write_plot(found, plot)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        _print_replay(found)


def _stream(scorer: Scorer, target: str, merge_gap: str | None, alpha: float) -> Stream:
    """Return what takes in the alarms at an alpha."""
    from vaewatch.batch.incidents.file import format_of_incidents
    from vaewatch.scoring.incidents.rule import Rules, merge_gap_of
    from vaewatch.scoring.incidents.stream import Stream

    format_of_incidents(target)
    gap = merge_gap_of(merge_gap, timed=True)
    return Stream(Rules.of(scorer.artifact, gap, alpha, by_clock=True))


def _own_time(scorer: Scorer) -> str:
    own = scorer.artifact.schema.time
    if own is None:
        raise click.UsageError("--time COLUMN must be given: the artifact has no time of its own.")
    return own.column


def _usual_alphas(calibration: Calibration) -> list[float]:
    alpha = calibration.alpha
    return [alpha, alpha / 10] if alpha / 10 * (calibration.n + 1) >= 1 else [alpha]


def _print_replay(found: Replay) -> None:
    from vaewatch.batch.replay.timeline import moment

    console, hours = out(), found.hours
    first, last = (moment(found.minutes.starts[at]) for at in (0, -1))
    console.print(f"records       {hours.records.sum():,} in {len(hours.starts):,} hours")
    console.print(f"from          {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
    if found.units and (found.units != {"seconds"} or first.year < EARLY):
        console.print(f"times         read as {', '.join(sorted(found.units))} since 1970")
    for name, number in (("without time", found.untimed), ("rejected", found.rejected)):
        if number:
            console.print(f"{name:13} {number:,}")
    _print_series(found)
    changed = "not simulated: VaewatchTrafficChanged needs the records in order of time"
    if found.series is not None:
        changed = "not simulated: VaewatchTrafficChanged takes records that do not overlap"
    changed = changed if found.changed is None else _firings(found.changed)
    console.print(f"ticket        {changed}")
    for which in range(len(found.alphas)):
        at = found.at(which)
        console.print(f"alpha {at.alpha:<7g} {at.alarms:,} alarms ({at.rate:.3%} of the records)")
        console.print(f"  by chance   {at.expected.number}: {at.expected.verdict(at.alarms)}")
        console.print(
            f"  an hour     {at.hourly_mean:,.2f} on average, {at.hourly_most:,} at most"
        )
        console.print(f"  a day       {at.daily_mean:,.2f} on average, {at.daily_most:,} at most")
        if at.incidents is not None:
            console.print(f"  incidents   {at.incidents.words}")
            console.print(
                f"  a day       {at.incidents.daily_mean:,.2f} incidents on average, "
                f"{at.incidents.daily_most:,} at most"
            )
        for alert in at.alerts:
            console.print(f"  {alert.severity:11} {_firings(alert)}")
    if found.incidents is not None:
        console.print(f"incidents     {found.incidents.words()}")
        if remark := found.incidents.remark(timed=True):
            console.print(f"              {remark}")
    _print_segments(found)
    print_outlook(console, found.outlook)


def _print_series(found: Replay) -> None:
    """Print how records stand to those before them, where they are judged with these."""
    if found.series is None:
        return
    counts = found.series.counts
    others = (
        ("new entities", counts.new),
        ("lasting", counts.lasting),
        ("warming up", counts.warming_up),
        ("late", counts.late),
        ("repeated", counts.repeated),
        ("gaps", counts.gaps),
        ("evicted", counts.evicted),
    )
    for name, number in others:
        if number:
            out().print(f"{name:13} {number:,}")


def _print_segments(found: Replay) -> None:
    """Print the alarms of each segment at each alpha, where the artifact has a segment."""
    from vaewatch.commands.tables.segments import shown_segment
    from vaewatch.commands.terminal import print_table

    rows = []
    for each in found.by_segment():
        cells = [shown_segment(each.segment), f"{each.records:,}"]
        for alarms in each.alarms:
            cells += [f"{alarms:,}", f"{alarms / each.records:.3%}"]
        rows.append(cells)
    if rows:
        at = [name for alpha in found.alphas for name in (f"alpha {alpha:g}", "share")]
        print_table(out(), ["segment", "records", *at], rows, right=range(1, 2 + len(at)))


def _firings(alert: AlertReplay) -> str:
    if alert.longest is None:
        return f"never, by {alert.name}"
    longest, times = alert.longest, "once" if alert.times == 1 else f"{alert.times:,} times"
    return (
        f"{times}, {alert.minutes_on:,} minutes in all, by {alert.name}; longest: "
        f"{longest.minutes:,} min from {longest.start:%Y-%m-%d %H:%M} UTC, "
        f"{longest.alarms:,} alarms"
    )
