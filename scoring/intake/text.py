"""Texts of unknown origin, as they may stand in an error of one line or in a terminal."""

from __future__ import annotations

import unicodedata

LONGEST = 300  # characters of a foreign text in an error
# classes of characters that turn the direction of the text after them (Unicode, annex 9)
BIDI = ("LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
LINE_BREAKS = "\t\n\r"  # in the header of a spreadsheet, a name may have several lines


def one_line(text: object) -> str:
    """Return a text on one line, without control characters, and not too long."""
    line = " ".join("".join(map(_plain, str(text)[: 4 * LONGEST])).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def has_control(text: str, allowed: str = "") -> bool:
    """Return whether a text could steer a terminal or break a line of a log."""
    return not text.isprintable() and any(
        unicodedata.category(c) in ("Cc", "Cs") and c not in allowed for c in text
    )


def _plain(character: str) -> str:
    kind, direction = unicodedata.category(character), unicodedata.bidirectional(character)
    return " " if kind in ("Cc", "Cs", "Zl", "Zp") or direction in BIDI else character
