"""The windows of an artifact that judges records with those before them, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from vaewatch.batch.series.counts import SeriesCounts
    from vaewatch.scoring.manifest import Manifest
    from vaewatch.scoring.series.window import Window
    from vaewatch.training.series.labelled.evaluate import SeriesEvaluation


def print_series(console: Console, manifest: Manifest) -> None:
    """Print the window and the series that it was fitted to, if the artifact has one."""
    from vaewatch.commands.terminal import print_fact

    for name, text in _window_facts(manifest):
        print_fact(console, name, text)


def print_incidents(console: Console, manifest: Manifest) -> None:
    """Print what incidents and p-values are, if the artifact has a window."""
    from vaewatch.commands.terminal import print_fact

    for name, text in _budget_facts(manifest):
        print_fact(console, name, text)


def series_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield all of it as names and texts; nothing without a window."""
    yield from _window_facts(manifest)
    yield from new_facts(manifest)
    series = manifest.series
    if series is not None:
        counts = incident_counts(manifest)
        yield "incidents", f"false ones per entity and day, by alpha: {counts}"
    yield from (("", text) for _, text in _budget_facts(manifest))


def incident_counts(manifest: Manifest) -> str:
    """Return the false incidents per entity and day at each alpha that is shown."""
    found = manifest.series.incidents_per_day if manifest.series else {}
    return ", ".join(f"{incidents_at(manifest, alpha)} at {alpha}" for alpha in found)


def incidents_at(manifest: Manifest, alpha: str) -> str:
    """Return the false incidents per entity and day at an alpha; where none was counted, the least
    number that would have been.
    """
    window, series = manifest.window, manifest.series
    if window is None or series is None or alpha not in series.incidents_per_day:
        return "n/a"
    count = series.incidents_per_day[alpha]
    return f"{count:.3g}" if count else f"<{1 / entity_days(manifest, window):.3g}"


def entity_days(manifest: Manifest, window: Window) -> float:
    """Return the days of one entity that the calibration records are worth."""
    from vaewatch.scoring.series.incidents import entity_days as days_of

    return days_of(manifest.calibration.n, window)


def judged_text(counts: SeriesCounts | SeriesEvaluation) -> str:
    """Say how many records were judged, and of which of them that is not all there is to say."""
    among = {"of new entities": counts.new, "while an alarm lasted": counts.lasting}
    shown = ", ".join(f"{number:,} {name}" for name, number in among.items() if number)
    return f"{counts.judged:,} judged{f' ({shown})' if shown else ''}"


def worth(manifest: Manifest) -> str:
    """Return how many independent records calibrate, as a part of a sentence; nothing where each
    record is one.
    """
    series, whole = manifest.series, manifest.calibration.entities
    if whole is not None:
        return (
            f" for {whole.records:,} of {whole.count:,} entities that the fit never saw, worth "
            f"{whole.blocks:,} independent one{'s' * (whole.blocks != 1)}"
        )
    return "" if series is None else f", worth {_blocks(series.blocks)}"


def new_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what the calibration of entities that the fit never saw is worth, if there is one."""
    series, summary = manifest.series, manifest.new_entities
    if series is None or summary is None or series.blocks_of_new is None:
        return
    low, high = summary.rate_interval_95
    yield (
        "new entities",
        f"{summary.n:,} calibration records ({summary.rule}, by whole entities), worth "
        f"{_blocks(series.blocks_of_new)}: their true rate lies between {low:.2g} and "
        f"{high:.2g} (95%)",
    )


def _blocks(number: int) -> str:
    return f"{number:,} independent block{'s' * (number != 1)}"


def _window_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    from vaewatch.scoring.time.spans import span_text

    window, series = manifest.window, manifest.series
    if window is None or series is None:
        return
    long = span_text(window.size * window.step)
    yield (
        "window",
        f"{window.size:,} records ({_why(manifest)}), {long} at the usual step of "
        f"{span_text(window.step)}",
    )
    learned = "" if window.pace is None else ". Steps vary, so that they are learned"
    yield (
        "",
        f"after a pause of more than {span_text(window.gap)} it begins anew, {series.gaps:,} "
        f"time{'s' * (series.gaps != 1)} here{learned}",
    )
    yield "series", _entities(manifest)
    yield (
        "",
        f"{series.windows:,} full windows; {series.repeated:,} records with a repeated time left "
        f"out, {series.late:,} sorted into time order",
    )


def _why(manifest: Manifest) -> str:
    """Say who chose the size of the window."""
    from vaewatch.training.series.sizes import LONGEST_PERIOD, NO_PERIOD, SHORTEST_PERIOD

    window, series = manifest.window, manifest.series
    if window is None or series is None or isinstance(manifest.training.window, int):
        return "as asked"
    if series.period is None:
        wanted, found = NO_PERIOD, "values do not repeat"
    else:
        wanted = min(max(series.period, SHORTEST_PERIOD), LONGEST_PERIOD)
        found = f"values repeat after {series.period:,} records"
    if window.size < wanted:
        return f"auto: {found}, but the longest stretch allows no more"
    if series.period is not None and wanted != series.period:
        return f"auto: {found}, and it is kept within {SHORTEST_PERIOD} to {LONGEST_PERIOD}"
    return f"auto: {found}"


def _entities(manifest: Manifest) -> str:
    window, series = manifest.window, manifest.series
    if window is None or series is None:
        return ""
    column = manifest.schema.entity
    if column is None:
        return "one: no column says whose a record is"
    entities = "1 entity" if series.entities == 1 else f"{series.entities:,} entities"
    short = (
        f"{series.short:,} of them too short for a window" if series.short else "none too short"
    )
    return f"{entities}, by column '{column}'; {short}"


def _budget_facts(manifest: Manifest) -> Iterator[tuple[str, str]]:
    from vaewatch.scoring.time.spans import span_text

    window, series = manifest.window, manifest.series
    if window is None or series is None:
        return
    days = entity_days(manifest, window)
    yield (
        "incidents",
        f"false ones per entity and day, counted on {days:,.3g} entity-days; alarms of one "
        f"entity within {span_text(window.size * window.step)} of each other are one incident",
    )
    if (count := series.incidents_per_day.get(f"{manifest.alpha:g}")) is not None:
        yield "", _interval(round(count * days), days, manifest.alpha)
    yield (
        "p-value",
        "the share of normal records that score at least as high, each with those before it. "
        "Neighbours alarm together, so that alarms come in runs: count incidents",
    )


def _interval(count: int, days: float, alpha: float) -> str:
    """Say how far to trust a count of incidents."""
    from vaewatch.training.series.promise import incidents_interval

    low, high = incidents_interval(count, days)
    return (
        f"at alpha {alpha:g}, {count:,} {'was' if count == 1 else 'were'} counted, so the true "
        f"number a day lies between {low:.2g} and {high:.2g} (95%)"
    )
