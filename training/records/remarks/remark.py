"""A remark: what a user should know of their records before the fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

NAMED = 5  # columns or values of a remark
SAID = 3  # columns of which much the same is said in full
COLUMN = re.compile(r"column '(.*?)' ")


@dataclass(frozen=True)
class Remark:
    """A sentence on a column, and a word or two that stand for it in a table."""

    word: str
    text: str


def texts_of(remarks: Iterable[Remark]) -> Iterator[str]:
    """Yield what remarks say: of columns of which much the same is said, a few in full, and the
    names of the others.
    """
    found: dict[str, list[Remark]] = {}
    for remark in remarks:
        found.setdefault(remark.word, []).append(remark)
    for word, own in found.items():
        others = []
        for i, remark in enumerate(own):
            column = COLUMN.match(remark.text)
            if i < SAID or column is None:
                yield remark.text
            else:
                others.append(column[1])
        if others:
            yield f"{named_columns(others)}: {word} as well; vaewatch profile says what of each."


def named_columns(names: Sequence[str]) -> str:
    """Return columns as a sentence has them: of many the first, and how many more."""
    named = ", ".join(f"'{name}'" for name in names[:NAMED])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"column{'s' if len(names) > 1 else ''} {named}{more}"
