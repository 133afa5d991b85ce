"""texts -> true, false or missing, whatever program wrote them."""

from __future__ import annotations

from collections.abc import Collection

from vaewatch.scoring.spelling.categories import BLANKS

# in lower case; a column of one word of a pair may well be something else, such as Norway or
# female, and is no boolean unless it is declared
PAIRS = (("true", "false"), ("yes", "no"), ("y", "n"), ("on", "off"), ("t", "f"))
DIGITS = (("1", "0"), ("1.0", "0.0"))
TRUE, FALSE = (frozenset(words) for words in zip(*PAIRS, *DIGITS, strict=True))


def read_word(text: str) -> bool | None:
    """Return what a text says; None if it is neither."""
    word = text.strip(BLANKS).lower()
    return True if word in TRUE else False if word in FALSE else None


def are_booleans(texts: Collection[str]) -> bool:
    """Return whether a column of these texts holds booleans: words of the pairs, with both words
    of one pair among them, or true or false alone. Digits alone are numbers, but 1 and 0 may
    stand beside words.
    """
    words = {text.strip(BLANKS).lower() for text in texts}
    if not words <= TRUE | FALSE:
        return False
    return bool(words & set(PAIRS[0])) or any(words >= set(pair) for pair in PAIRS)
