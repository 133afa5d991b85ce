"""Shows on stderr how far a fit or a job has come: a bar on a terminal, elsewhere a line now and
then.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vaewatch.commands.terminal import err

if TYPE_CHECKING:
    from vaewatch.batch.job import Counts
    from vaewatch.batch.job import Progress as JobProgress
    from vaewatch.training.progress import Progress as FitProgress

LINE_SECONDS, JSON_SECONDS = 10.0, 1.0  # between two lines


@dataclass(frozen=True)
class Shown:
    """What is shown of a fit: `progress` moves it, and `hidden` takes it away for a while."""

    progress: FitProgress
    hidden: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def fit_progress(quiet: bool) -> Iterator[Shown]:
    """A bar where stderr is a terminal; elsewhere a line at each tenth."""
    console = err()
    if quiet:
        yield Shown(lambda phase, done, total: None)
    elif not console.is_terminal:
        yield Shown(_fit_lines(console))
    else:
        with _fit_bar(console) as shown:
            yield shown


def _fit_lines(console: Any) -> FitProgress:
    printed: dict[str, int] = {}

    def progress(phase: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > printed.get(phase, 0):
            printed[phase] = tenth
            console.print(f"{phase}: step {done} of {total}")

    return progress


@contextmanager
def _fit_bar(console: Any) -> Iterator[Shown]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[steps]}"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("reading", total=None, steps="")

        def progress(phase: str, done: int, total: int) -> None:
            if phase != bar.tasks[0].description:
                bar.refresh()  # so that a short phase is shown too
                bar.reset(task, total=total or None, description=phase, steps="")
            steps = f"{done:,} of {total:,} steps" if total else ""
            bar.update(task, completed=done, steps=steps)

        @contextmanager
        def hidden() -> Iterator[None]:
            bar.stop()
            yield
            bar.start()

        yield Shown(progress, hidden)


@contextmanager
def job_progress(style: str) -> Iterator[JobProgress]:
    """`auto`: a bar on a terminal, else a line now and then."""
    if style == "auto":
        style = "bar" if err().is_terminal else "lines"
    if style == "bar":
        with _job_bar() as progress:
            yield progress
    elif style == "none":
        yield lambda counts, share: None
    else:
        yield _JobLines(as_json=style == "json")


class _JobLines:
    """One line each few seconds."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._began = self._printed = time.monotonic()
        self._first: int | None = None

    def __call__(self, counts: Counts, share: float | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = counts.records  # those of an earlier job do not count in this one's rate
            return
        if now - self._printed < (JSON_SECONDS if self._json else LINE_SECONDS):
            return
        self._printed = now
        rate = (counts.records - self._first) / (now - self._began)
        if self._json:
            line = {
                "records": counts.records,
                "anomalies": counts.anomalies,
                "rejected": counts.rejected,
                "share": share,
                "records_per_second": round(rate),
            }
            err().print(json.dumps(line))
        else:
            done = "" if share is None else f" ({share:.0%})"
            err().print(
                f"{counts.records:,} records{done}, {counts.anomalies:,} anomalies, {rate:,.0f}/s"
            )


@contextmanager
def _job_bar() -> Iterator[JobProgress]:
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.fields[text]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True),
    )
    with Bar(*columns, console=err(), transient=True, expand=True) as bar:
        task, began = bar.add_task("score", total=None, text="reading"), time.monotonic()
        earlier: Counts | None = None

        def progress(counts: Counts, share: float | None) -> None:
            nonlocal earlier
            if earlier is None:
                earlier = counts
                return
            rate = (counts.records - earlier.records) / (time.monotonic() - began)
            text = f"{counts.records:,} records, {counts.anomalies:,} anomalies, {rate:,.0f}/s"
            total = None if share is None else 1.0
            bar.update(task, completed=share or 0.0, total=total, text=text)

        yield progress
