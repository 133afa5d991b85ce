"""facts, tables and bars -> lines: as wide as a terminal, and whole in a file or a pipe.

A fact that goes to a file stays on one line, so that it can be searched for. Nothing here depends
on colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

BAR = 20  # characters of a full one


def print_fact(console: Console, name: str, text: str, indent: int = 14) -> None:
    """`name`, then `text`; on a terminal its further lines stand below the first."""
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
    """Columns two spaces apart, those in `right` set to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for at, name in enumerate(head):
        table.add_column(name, justify="right" if at in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=False)


def bar(console: Console, share: float, width: int = BAR) -> str:
    """A bar as long as a share of `width`; something where there is something."""
    full = "█" if "utf" in console.encoding.lower() else "#"
    length = round(min(max(share, 0.0), 1.0) * width)
    return full * (max(length, 1) if share > 0 else 0)
