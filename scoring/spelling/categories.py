"""category -> one spelling: blanks, accents, numbers with a zero fraction, TRUE and true."""

from __future__ import annotations

import math
import re
import unicodedata
from struct import Struct

# what pads a cell; the same for Python and polars, whose own idea of a blank differs
BLANKS = " \t\r\n\v\f\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
BLANKS += "\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\u200b\u200e\u200f\u2060"
ONE_BLANK = str.maketrans(dict.fromkeys("\u00a0\u2007\u2009\u202f", " "))
# a number as programs print it: "007", "1.10" and "1e5" are texts
NUMBER = r"^[+-]?(?:0|[1-9][0-9]*)(?:\.(?:0+|[0-9]*[1-9]))?(?:[eE][+-][0-9]+)?$"
_NUMBER, _COMMA = re.compile(NUMBER), re.compile(r"^-?[0-9]+,[0-9]+$")
_BOOLEANS, LONGEST_WORD = ("true", "false"), 5


def spell(number: float) -> str:
    """Return a number as a category: 1.0 as "1", and a float32 in the digits that a float32 needs,
    since 0.1 came from Parquet or NumPy as 0.10000000149.
    """
    if number.is_integer():
        return str(int(number))
    return _short(number) if _single(number) == number else repr(number)


_FLOAT32, _FLOAT16 = Struct("f"), Struct("e")
SHORT = 5  # digits that a float16 is sure to take: with more it was a longer number


def _single(number: float) -> float:
    """Return the float32 next to a number; infinity beyond them."""
    try:
        return float(_FLOAT32.unpack(_FLOAT32.pack(number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def half(number: float) -> float:
    """Return the float16 next to a number; infinity beyond them."""
    try:
        return float(_FLOAT16.unpack(_FLOAT16.pack(number))[0])
    except OverflowError:
        return math.copysign(math.inf, number)


def is_half(number: float) -> bool:
    """Return whether a number looks like the rounding of another one to float16: it is such a
    number, and takes more digits than those that people write.
    """
    return half(number) == number and float(f"{number:.{SHORT}g}") != number


def _short(single: float) -> str:
    """Return a float32 in the fewest digits that name it."""
    for digits in range(6, 10):
        text = repr(float(f"{single:.{digits}g}"))
        if _single(float(text)) == single:
            return text
    return repr(single)


def respell(text: str) -> str:
    """Return a text that is a number as `spell` has it, and any other as it is."""
    if not _NUMBER.match(text) or text.lstrip("-").isdigit():
        return text
    return spell(float(text))


def one_spelling(texts: set[str]) -> dict[str, str]:
    """Map a column's texts to their categories.

    Numbers and booleans lose what differs from format to format only where the whole column
    consists of them: 1.0 beside 1.1.2 is a version.
    """
    bare = {text: _one_form(text.strip(BLANKS)) for text in texts}
    given = set(bare.values()) - {""}
    if all(map(_NUMBER.match, given)):
        return {text: respell(name) for text, name in bare.items()}
    if {name.lower() for name in given} <= set(_BOOLEANS):
        return {text: name.lower() for text, name in bare.items()}
    return bare


def key_of(text: str) -> str:
    """Return the key that all spellings of a category share: it finds the category of a text that
    is not spelled like any. Numbers that no float32 tells apart have one key.
    """
    if text[:1].isalpha() and text[-1:].isalnum() and text.isascii():  # most are like this
        return text if len(text) > LONGEST_WORD else _key_of_word(text)
    name = _one_form(text.strip(BLANKS))
    number = name.replace(",", ".") if _COMMA.match(name) else name
    return _key_of_number(number) if _NUMBER.match(number) else _key_of_word(name)


def _one_form(name: str) -> str:
    """Return a name with its accents in one piece, and a plain blank for one that does not break
    a line: the texts look alike.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name).translate(ONE_BLANK)


def _key_of_word(name: str) -> str:
    word = name.lower()
    return word if word in _BOOLEANS else name


def _key_of_number(name: str) -> str:
    if name.lstrip("-").isdigit():
        return name
    number = float(name)
    if number.is_integer() or not 1e-30 < abs(number) < 1e30:
        return spell(number) if math.isfinite(number) else name
    single = _single(number)
    if is_half(single):
        single = next(
            x for x in (float(f"{single:.{n}g}") for n in range(1, SHORT + 1)) if half(x) == single
        )
    return _short(_single(single))
