"""figures -> a table for RESULTS.md, a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

REHEARSAL = "**A rehearsal on a CPU, with small sizes: not measured on a GPU.**"


def table(figures: Sequence[Sequence[Any]], *, rehearsal: bool) -> str:
    """Return the (stage, what, value) figures as Markdown."""
    lines = [REHEARSAL, ""] if rehearsal else []
    lines += ["| stage | what | figure |", "|---|---|---|"]
    lines += [f"| {stage} | {_cell(what)} | {_cell(value)} |" for stage, what, value in figures]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    text = f"{value:,.5g}" if isinstance(value, float) else str(value)
    return text.replace("|", "/").replace("\n", " ")[:200]
