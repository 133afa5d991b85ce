"""a name that is not known -> the known one that may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def like(name: str, others: Sequence[str]) -> str | None:
    """Return the one of the others that is most like a name, whatever the case of its letters."""
    given = {other.lower(): other for other in others}
    found = get_close_matches(name.lower(), given, 1)
    return given[found[0]] if found else None


def meant(name: str, known: Sequence[str]) -> str:
    """Return a question after the end of an error's text; empty if none is like it."""
    found = like(name, known)
    return "" if found is None else f" Did you mean '{found}'?"
