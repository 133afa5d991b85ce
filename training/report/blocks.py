"""What a page is made of: sections of texts, facts, tables and plots."""

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
    """Names with what they are."""

    rows: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Grid:
    """A table; `folded` is shown when asked for. The columns in `numbers` are set to the right."""

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


FOLD_FROM = 12  # rows of a table that are not shown at once

Block = Text | Facts | Grid | Plots


@dataclass(frozen=True)
class Section:
    """One question and its answer. key: its place in the page's address."""

    key: str
    title: str
    lead: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at for the reader. good: nothing to do."""

    good: bool
    words: str
    section: str


def number(value: float | None, digits: int = 4) -> str:
    """As people read it; an absent one is said to be so."""
    if value is None:
        return "n/a"
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def share(value: float) -> str:
    """A share in per cent, with small ones not rounded away."""
    return f"{100 * value:.3g} %"
