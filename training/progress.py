"""steps so far -> what people see on stderr while a fit runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scoring.command import err

Tell = Callable[[str, int, int], None]


@contextmanager
def show_progress(quiet: bool) -> Iterator[Tell]:
    """A bar where stderr is a terminal; elsewhere a line at each tenth."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = err()
    if quiet:
        yield lambda phase, done, total: None
    elif not console.is_terminal:
        yield _lines(console)
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("fit", rate="")
            yield lambda phase, done, total: bar.update(
                task, completed=done, total=total, rate=f"{bar.tasks[0].speed or 0:.0f} steps/s"
            )


def _lines(console: Any) -> Tell:
    told: dict[str, int] = {}

    def tell(phase: str, done: int, total: int) -> None:
        tenth = 10 * done // total
        if tenth > told.get(phase, 0):
            told[phase] = tenth
            console.print(f"{phase}: step {done} of {total}")

    return tell
