"""Facts, tables and bars for people, as wide as the terminal.

A fact that goes to a file or a pipe stays on one line, so that it can be searched for. Nothing
depends on colour.
"""

from __future__ import annotations

import logging
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from vaewatch.scoring.time.blocks import Outlook

# show a path or a column's name as it is: no styles in brackets, no emoji, no colours
PLAIN: Any = {"highlight": False, "soft_wrap": True, "markup": False, "emoji": False}
BAR = 20  # characters of a full one
INTERRUPTED = 130  # the exit code of a command that says itself how to go on after Ctrl-C
ONE_LINE = 10_000  # characters: a table that goes to a file or a pipe keeps each row on one line


def out() -> Console:
    """For results: stdout."""
    return _console()


def err() -> Console:
    """For progress and notes: stderr."""
    return _console(stderr=True)


def _console(**where: Any) -> Console:
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1; `vaewatch.__main__` knows better

    return Plain(**where, **PLAIN)


class _Warnings(logging.Handler):
    """Prints what the library warns of, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f"warning: {visible(record.getMessage())}", file=sys.stderr)


def show_warnings(*, mute: bool = False) -> None:
    """Print what is warned of records to stderr, however quiet the command; or nothing."""
    for name in ("vaewatch.training", "vaewatch.scoring"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [logging.NullHandler() if mute else _Warnings()], False


def visible(text: str) -> str:
    """Return a text with its control characters escaped: names and categories come from files,
    and must not steer the terminal.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape", "replace").decode()
    return character


def print_fact(console: Console, name: str, text: str, indent: int = 14) -> None:
    """Print a name, then a text, which a terminal wraps beside the name."""
    text = visible(text)
    if not console.is_terminal:
        return console.print(f"{name:{indent}}{text}")
    lines = textwrap.wrap(
        text,
        max(console.width - indent, 24),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for start, line in zip([name, *[""] * len(lines)], lines, strict=False):
        console.print(f"{start:{indent}}{line}")


def print_table(
    console: Console, head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> None:
    """Print columns two spaces apart; those in `right` are aligned to the right.

    A terminal wraps the cells of wide tables, but not the names in the first column, if it has
    room for them.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for at, name in enumerate(head):
        longest = max((len(row[at]) for row in rows), default=0)
        table.add_column(
            name,
            justify="right" if at in right else "left",
            overflow="fold",
            no_wrap=at == 0 and longest < console.width / 3,
        )
    for row in rows:
        table.add_row(*map(visible, row))
    if not console.is_terminal:
        console.width = ONE_LINE
    console.print(table, soft_wrap=False)


def bar(console: Console, share: float, width: int = BAR) -> str:
    """A bar as long as a share of `width`, and at least one character if the share is not 0."""
    full = "█" if "utf" in console.encoding.lower() else "#"
    length = round(min(max(share, 0.0), 1.0) * width)
    return full * (max(length, 1) if share > 0 else 0)


def print_outlook(console: Console, found: Outlook | None, *, windows: bool = False) -> None:
    """Print the alarms of each block of time beside those expected, and what follows."""
    if found is None:
        return
    from vaewatch.scoring.budget.in_words import rows_of, words

    head = ("from (UTC)", "to", "records", "alarms", "expected", "by chance", "")
    print_table(console, head, rows_of(found), right=(2, 3, 4, 5))
    for at, sentence in enumerate(words(found, windows=windows)):
        print_fact(console, "" if at else "over time", sentence)
