"""Manifest, SeriesFindings -> the sections of a report that are about windows."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from vaewatch.scoring.budget.calibration import Calibration, block_law, records_for_precision
from vaewatch.scoring.budget.described import shown_alphas
from vaewatch.scoring.budget.in_words import days as in_days
from vaewatch.scoring.budget.windows import days_for_precision
from vaewatch.scoring.manifest import Manifest
from vaewatch.scoring.series.incidents import entity_days
from vaewatch.scoring.series.window import SeriesSummary
from vaewatch.scoring.time.spans import span_text
from vaewatch.training.config import ENTITIES
from vaewatch.training.report.blocks import Block, Facts, Grid, Plots, Section, Text, number
from vaewatch.training.report.figure import (
    BLUE,
    MUTED,
    ORANGE,
    TEAL,
    VIOLET,
    Figure,
    draw,
    name_rows,
    room_for,
)
from vaewatch.training.report.sections.fit import bound_curve, parts_curve
from vaewatch.training.report.sections.time import starts
from vaewatch.training.report.series import Picture, SeriesFindings, Span

LINE = 0.42  # inches that the course of a column takes
LEAST_HIGH = 1.6
KINDS = {
    "typical": (
        "A typical window, and what the VAE makes of it",
        "Of the windows that judged the fit, the one with the median score. The dashed lines, "
        "what is expected, should follow the solid ones.",
    ),
    "rare": (
        "The rarest window, and what the VAE makes of it",
        "The one with the highest score. Where the lines part, the window is unlike the others: "
        "if that is a fault, leave it out and train again.",
    ),
    "drawn": (
        "Windows drawn from the prior",
        "What the model takes for normal, without looking at any record: each colour is one "
        "window. Their courses should be like those of real windows, though smoother.",
    ),
}


def windows_section(manifest: Manifest, found: SeriesFindings) -> Section:
    """Show what a window is, and windows as pictures."""
    window, series = manifest.window, manifest.series
    assert window is not None and series is not None
    facts = Facts(
        (
            ("records of a window", number(window.size)),
            ("its usual length", span_text(window.size * window.step)),
            ("usual step", span_text(window.step)),
            ("it begins anew after", span_text(window.gap)),
            ("entities", number(series.entities)),
            ("too short for a window", number(series.short)),
            ("full windows", number(series.windows)),
            ("gaps", number(series.gaps)),
            ("repeated records, left out", number(series.repeated)),
            ("records put in order", number(series.late)),
        )
    )
    words = (
        "A record is judged with those of its entity before it: its score is that of the window "
        "that ends at it. Each line is the course of a column, in its own scale, from the oldest "
        "record of the window to the one that is judged."
    )
    real = [
        _picture(f"window-{each.kind}", [each], found)
        for each in found.pictures
        if each.kind != "drawn"
    ]
    prior = [each for each in found.pictures if each.kind == "drawn"]
    figures = [*real, *([_picture("window-drawn", prior, found)] if prior else [])]
    blocks: tuple[Block, ...] = (facts, Text(words), Plots(figures))
    return Section("windows", "Windows", "What is judged together, and what is usual.", blocks)


def _scales(pictures: tuple[Picture, ...]) -> list[tuple[float, float]]:
    """Return the least value of each line in all pictures, and how far it is to the largest."""
    whole = [[*each.observed, *each.expected] for each in pictures]
    count = len(pictures[0].observed)
    values = [np.concatenate([own[row] for own in whole for row in range(at, len(own), count)])
              for at in range(count)]  # fmt: skip
    return [(float(each.min()), float(np.ptp(each)) or 1.0) for each in values]


def _picture(key: str, pictures: list[Picture], found: SeriesFindings) -> Figure:
    first, names, scales = pictures[0], found.features, _scales(found.pictures)
    title, read = KINDS[first.kind]
    size = len(first.observed[0])
    ago = np.arange(1 - size, 1)

    def on(ax: Axes) -> None:
        for row in range(len(names)):
            lines = [np.array(each.observed[row]) for each in pictures]
            expected = [np.array(each.expected[row]) for each in pictures if each.expected]
            low, spread = scales[row]
            for line, colour in zip(lines, (BLUE, TEAL, VIOLET), strict=False):
                ax.plot(ago, row + 0.4 - 0.8 * (line - low) / spread, color=colour, linewidth=1.3)
            for line in expected:
                scaled = row + 0.4 - 0.8 * (line - low) / spread
                ax.plot(ago, scaled, color=ORANGE, linestyle="--", linewidth=1.3)
        name_rows(ax, names)
        ax.set_xlabel("records ago (0: the one that is judged)")

    said = f" It ends at {first.ends} and scores {first.score:.4g}." if first.ends else ""
    windows = f"{len(pictures)} window{'s' * (len(pictures) != 1)}"
    return draw(
        key,
        title,
        read=read,
        alt=f"{windows} of {size} records.{said}",
        on=on,
        high=max(LEAST_HIGH, 0.7 + LINE * len(names)),
        left=room_for(names),
    )


def windows_budget(manifest: Manifest, calibration: Calibration) -> Section:
    """Show what a budget of alarms is worth where neighbours are alike."""
    window, series, summary = manifest.window, manifest.series, manifest.calibration
    assert window is not None and series is not None
    low, high = summary.rate_interval_95
    long, days = span_text(window.size * window.step), entity_days(calibration.n, window)
    wish = days_for_precision(summary, series, window)
    facts = Facts(
        (
            ("asked for", f"{calibration.alpha:g}"),
            ("true rate, 95%", f"{low:.2g} to {high:.2g}"),
            ("calibration records", number(calibration.n)),
            ("independent blocks", number(series.blocks)),
            ("entity-days", number(days, 3)),
            ("false incidents per entity and day", _incidents(series, calibration.alpha, days)),
            ("rule", summary.rule),
            ("for ± 20% of alpha", "more than ten years" if wish is None else in_days(wish)),
        )
    )
    blocks: tuple[Block, ...] = (
        facts,
        Text(f"{summary.rule.capitalize()}: {summary.rule_means}"),
        Text(f"What it assumes: {summary.assumes}"),
        Text(
            "The p-value of a record is the share of normal records that score at least as high, "
            "each with those before it. Neighbouring records alarm together, so that alarms come "
            f"in runs: alarms of one entity within {long} of each other are one incident."
        ),
        *_few(calibration, series, high),
        *_of_new(manifest),
        _by_alpha(calibration, series, days),
    )
    lead = "How often normal records alarm, and how many incidents that makes."
    return Section("budget", "The alarm budget", lead, blocks)


def _few(calibration: Calibration, series: SeriesSummary, high: float) -> tuple[Text, ...]:
    if calibration.alpha * (series.blocks + 1) >= 1:
        return ()
    return (
        Text(
            f"The calibration records are worth {series.blocks:,} independent ones, fewer than a "
            f"rate of {calibration.alpha:g} takes: up to {high:.2g} of normal records may alarm. "
            "A longer time or more entities make that narrower.",
            warning=True,
        ),
    )


def _of_new(manifest: Manifest) -> tuple[Text, ...]:
    """Say what the budget of entities that the fit never saw is worth, if they have one."""
    series, summary = manifest.series, manifest.new_entities
    if series is None or summary is None:
        return ()
    low, high = summary.rate_interval_95
    return (
        Text(
            f"Entities that the fit never saw have a calibration of their own, of {summary.n:,} "
            f"records that are worth {series.blocks_of_new:,} independent blocks: their true rate "
            f"lies between {low:.2g} and {high:.2g} (95%). {summary.rule_means} {summary.assumes}"
        ),
    )


def _incidents(series: SeriesSummary, alpha: float, days: float) -> str:
    """Return the false incidents at alpha; where none was counted, the least that would be."""
    count = series.incidents_per_day.get(f"{alpha:g}")
    return f"<{1 / days:.3g}" if count == 0 else number(count, 3)


def _by_alpha(calibration: Calibration, series: SeriesSummary, days: float) -> Grid:
    rows = []
    for alpha in shown_alphas(calibration):
        low, high = block_law(calibration, alpha, series.blocks).interval()
        alike = calibration.n / series.blocks
        rows.append(
            (
                f"{alpha:g}",
                number(calibration.threshold(alpha)),
                f"{low:.2g} to {high:.2g}",
                _incidents(series, alpha, days),
                number(round(records_for_precision(alpha) * alike)),
            )
        )
    head = ("alpha", "threshold", "true rate, 95%", "incidents a day", "records for ± 20%")
    caption = "The budget at several alphas, with false incidents per entity and day"
    return Grid(caption, head, rows, numbers=(0, 1, 2, 3, 4))


def windows_in_time(found: SeriesFindings) -> Section:
    """Show the out-of-fold alarms of each block of time."""
    alpha = found.alpha
    rows = [
        (
            _minute(span.start),
            _minute(span.end),
            number(span.records),
            number(span.alarms),
            f"{alpha * span.records:.3g}",
            number(span.incidents),
        )
        for span in found.spans
    ]
    head = ("from (UTC)", "to", "records", "alarms", "expected", "incidents begun")
    blocks = (
        Text(
            "Each block is judged by what saw none of it. All blocks together have as many alarms "
            "as expected, since they calibrate; one that holds most of them is unlike the others, "
            "and so may be the time to come."
        ),
        Plots((_alarms(found.spans, alpha),)),
        Grid("Alarms of each block of time", head, rows, numbers=(2, 3, 4, 5)),
    )
    lead = "How the alarms on the fit records lie in time."
    return Section("spans", "The fit records in time", lead, blocks)


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")


def _alarms(spans: tuple[Span, ...], alpha: float) -> Figure:
    at = np.arange(len(spans))
    alarms = np.array([span.alarms for span in spans])
    expected = np.array([alpha * span.records for span in spans])

    def on(ax: Axes) -> None:
        ax.bar(at, alarms, 0.8, color=BLUE, alpha=0.55, label="alarms")
        ax.plot(at, expected, color=MUTED, linestyle=":", label="expected")
        every = at[::3]
        ax.set_xticks(every, starts([spans[i].start for i in every]))
        ax.set_ylim(0, 1.35 * max(ax.get_ylim()[1], 1.0))
        ax.set_ylabel("alarms of a block")
        ax.legend()

    said = ", ".join(f"{a} of {e:.3g} expected" for a, e in zip(alarms, expected, strict=True))
    return draw(
        "spans",
        "Alarms in each block of time",
        read="Bars about as high as the dotted line are what is expected. A few high ones show "
        "times that are unlike the others.",
        alt=f"Alarms from {spans[0].start} to {spans[-1].end}: {said}.",
        on=on,
    )


def windows_fit(manifest: Manifest, found: SeriesFindings, *, kl: bool) -> Section:
    """Show how the bound rose, in and out of bag."""
    last, training = found.log[-1], manifest.training
    facts = Facts(
        (
            ("members", f"{training.members}, of them {training.served} score"),
            ("steps", f"{last.step:,}"),
            ("windows that it sees", number(found.seen)),
            ("latent dimensions", number(manifest.metrics.latent)),
        )
    )
    entities = " and some entities" if training.calibrate == ENTITIES else ""
    words = Text(
        "The VAE sees a window by its places along the leading directions of the fit windows. "
        "The members that score see all windows. Each of the others leaves out a block of time"
        f"{entities}, so every window is out of bag for one member. The KL counts a tenth of "
        "--beta: a window has many places, and more would blur them."
    )
    plots = [bound_curve(found, kl=kl), *([parts_curve(found)] if kl else [])]
    lead = "Whether the stack learned the windows, and whether it memorised them."
    return Section("fit", "The fit", lead, (facts, words, Plots(plots)))
