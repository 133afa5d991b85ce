"""counts so far -> what people and schedulers see on stderr while a job runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from batch.job import Counts
from batch.pipeline import Tell
from scoring.command import err

STYLES = ("auto", "bar", "lines", "json", "none")
LINE_SECONDS = 10.0


@contextmanager
def progress(style: str) -> Iterator[Tell]:
    """`auto`: a bar on a terminal, else a line now and then."""
    if style == "auto":
        style = "bar" if err().is_terminal else "lines"
    if style == "bar":
        with _bar() as tell:
            yield tell
    elif style == "none":
        yield lambda counts, share: None
    else:
        yield _Lines(as_json=style == "json")


class _Lines:
    """One line each few seconds."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def __call__(self, counts: Counts, share: float | None) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = counts.records  # what an earlier job did says nothing of this one's rate
            return
        if now - self._told < (1.0 if self._json else LINE_SECONDS):
            return
        self._told = now
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
def _bar() -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.fields[text]}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=err(), transient=True, expand=True) as bar:
        task, began = bar.add_task("score", total=None, text="reading"), time.monotonic()
        earlier: Counts | None = None

        def tell(counts: Counts, share: float | None) -> None:
            nonlocal earlier
            if earlier is None:
                earlier = counts
                return
            rate = (counts.records - earlier.records) / (time.monotonic() - began)
            text = f"{counts.records:,} records, {counts.anomalies:,} anomalies, {rate:,.0f}/s"
            total = None if share is None else 1.0
            bar.update(task, completed=share or 0.0, total=total, text=text)

        yield tell
