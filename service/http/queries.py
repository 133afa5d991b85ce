"""text of a query -> values, with the rule named where it is another one."""

from __future__ import annotations

from collections.abc import Sequence

from vaewatch.service.http.problems import Malformed


def one_of(given: str | None, words: Sequence[str], what: str) -> str | None:
    """Return a word.

    Raises:
        Malformed: it is none of these.
    """
    if given is not None and given not in words:
        raise Malformed(f"'{what}' must be {', '.join(words[:-1])} or {words[-1]}.")
    return given


def whole(given: str | None, what: str, *, least: int, most: int, usual: int) -> int:
    """Return a whole number.

    Raises:
        Malformed: it is none, or out of its range.
    """
    if given is None:
        return usual
    if not (given.isascii() and given.isdecimal() and least <= int(given[:20]) <= most):
        raise Malformed(f"'{what}' must be a whole number from {least:,} to {most:,}.")
    return int(given)


def yes_or_no(given: str | None, what: str) -> bool | None:
    """Return whether it says true.

    Raises:
        Malformed: it is neither true nor false.
    """
    found = one_of(given, ("true", "false"), what)
    return None if found is None else found == "true"
