"""The elements of a page: sections of texts, facts, tables and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vaewatch.training.report.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph; `warning` sets it apart."""

    words: str
    warning: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class Facts:
    """Pairs of a name and its value."""

    rows: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Grid:
    """A table; a `folded` one opens on a click. Columns in `numbers` are set to the right."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    folded: bool = False
    numbers: Sequence[int] = ()
    kind: str = "grid"


@dataclass(frozen=True)
class Plots:
    """Plots side by side where there is room."""

    figures: Sequence[Figure]
    kind: str = "plots"


FOLD_FROM = 12  # rows: a longer table is folded

Block = Text | Facts | Grid | Plots


@dataclass(frozen=True)
class Section:
    """One question and its answer. key: its anchor in the page's address. opens: the title of the
    part of the page that begins with it.
    """

    key: str
    title: str
    lead: str
    blocks: Sequence[Block]
    opens: str = ""


@dataclass(frozen=True)
class Check:
    """One thing that was checked for the reader. good: there is nothing to do."""

    good: bool
    words: str
    section: str


def number(value: float | None, digits: int = 4) -> str:
    """Return a number as people read it, and n/a for None."""
    if value is None:
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def share(value: float) -> str:
    """Return a share in per cent, to three digits."""
    return f"{100 * value:.3g}%"
