"""steps so far -> what people see on stderr while a fit runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scoring.command import err

Tell = Callable[[str, int, int], None]  # phase, done, total; a total of 0 is not known


@contextmanager
def show_progress(quiet: bool) -> Iterator[Tell]:
    """A bar where stderr is a terminal; elsewhere a line at each tenth."""
    console = err()
    if quiet:
        yield lambda phase, done, total: None
    elif not console.is_terminal:
        yield _lines(console)
    else:
        with _bar(console) as tell:
            yield tell


def _lines(console: Any) -> Tell:
    told: dict[str, int] = {}

    def tell(phase: str, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > told.get(phase, 0):
            told[phase] = tenth
            console.print(f"{phase}: step {done} of {total}")

    return tell


@contextmanager
def _bar(console: Any) -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[steps]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("reading", total=None, steps="")

        def tell(phase: str, done: int, total: int) -> None:
            if phase != bar.tasks[0].description:
                bar.refresh()  # a phase that is short is seen too
                bar.reset(task, total=total or None, description=phase, steps="")
            steps = f"{done:,} of {total:,} steps" if total else ""
            bar.update(task, completed=done, steps=steps)

        yield tell
