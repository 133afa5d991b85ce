"""texts -> numbers as people write them: 1.234,56 and $1,200.00 and 45 %."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from vaewatch.scoring.spelling.categories import BLANKS

SPACES = " \u00a0\u2009\u202f"
QUOTES = "'\u2019"
GROUPS = {"": "", ".": ".", ",": ",", " ": SPACES, "'": QUOTES}  # a thousands mark -> its forms
UNITS: tuple[str, ...] = (
    "%",
    "\u2030",
    "kr",
    "kr.",
    "z\u0142",
    "K\u010d",
    "Ft",
    "Rs",
    "Rs.",
    "R$",
    "lei",
)
UNITS += ("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "BRL", "CAD", "AUD", "NZD", "SEK")
UNITS += ("NOK", "DKK", "PLN", "CZK", "HUF", "RON", "BGN", "TRY", "RUB", "UAH", "ZAR", "MXN")
UNITS += ("KRW", "SGD", "HKD", "THB", "ILS", "AED", "SAR", "IDR", "MYR", "PHP", "VND", "ARS")
BLANK = f"[{re.escape(BLANKS)}]*"
EXPONENT = "(?:[eE][+-]?[0-9]+)?"
BARE = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
# the same without 1.234, which may be 1234 where the decimal mark is a comma
CLEAR = r"(?:[0-9]+(?:\.(?:[0-9]{0,2}|[0-9]{4,}))?|(?:0|[0-9]{4,})\.[0-9]{3}|\.[0-9]+)"
SIGN = "[+\u2212-]"
NEGATIVE = "^[^0-9]*[(\u2212-]"
AROUND = f"{BLANKS}()+-\u2212"  # what may stand before and after the digits
# forms of - + . , % that other keyboards have
FORMS = str.maketrans(
    "\u2212\u2013\ufe63\uff0d\uff0b\u066b\uff0e\u066c\uff0c\u066a\uff05", "----+..,,%%"
)
NO_CENTS = re.compile(r"(?<=[0-9])[.,]-{1,2}(?=[^0-9]*$)")  # 12.- and 12,--
AT_END = re.compile(r"^([^-(]*[0-9][^0-9-]*)-\s*$")  # 12.50-, as SAP prints it
BEFORE_BRACKET = re.compile(r"^([^0-9(]+)\(")  # $(12.50)


def is_unit(text: str) -> bool:
    """Return whether a text beside a number is a currency or a share, such as €, US$, EUR or %."""
    if text in UNITS:
        return True
    letters, sign = text[:-1], text[-1:]
    return len(letters) <= 3 and unicodedata.category(sign or "a") == "Sc" and _capitals(letters)


def _capitals(letters: str) -> bool:
    return letters == "" or (letters.isascii() and letters.isupper())


@dataclass(frozen=True)
class NumberFormat:
    """How the texts of a column spell its numbers.

    Attributes:
        decimal: the decimal mark, "." or ",".
        thousands: what groups digits by three: "", ".", ",", " " or "'". Groups that cannot be
            anything else are read whatever it is, such as 1.234.567 beside a decimal comma.
        unit: a currency or per cent sign before or after a number; 45% is 45.
    """

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    @cached_property
    def _grouped(self) -> str:
        marks = [mark for mark in GROUPS if mark not in ("", self.decimal)]
        certain = [
            rf"[1-9][0-9]{{0,2}}(?:[{forms}][0-9]{{3}})+{self._fraction}"
            rf"|[1-9][0-9]{{0,2}}(?:[{forms}][0-9]{{3}}){{2,}}"
            for forms in (GROUPS[mark] for mark in marks)
        ]
        if self.thousands:
            forms = GROUPS[self.thousands]
            few = rf"[1-9][0-9]{{0,2}}(?:[{forms}][0-9]{{3}})+(?:{self._fraction})?"
            lakhs = rf"[1-9][0-9]?(?:[{forms}][0-9]{{2}})+[{forms}][0-9]{{3}}"
            certain += [few, rf"{lakhs}(?:{self._fraction})?"]
        return "|".join(certain)

    @property
    def _fraction(self) -> str:
        return rf"[{self.decimal}][0-9]+"

    @cached_property
    def body(self) -> str:
        """What a text in this format must match without sign and unit, for Python and polars."""
        plain = rf"[0-9]+(?:[{self.decimal}][0-9]*)?"
        return rf"^(?:{self._grouped}|{plain}|{self._fraction}){EXPONENT}$"

    @cached_property
    def pattern(self) -> str:
        """What a whole text must match: in this format, or bare, as a program spells numbers."""
        bare = CLEAR if self.decimal == "," else BARE
        body = rf"(?:{self.body[1:-1]}|{bare}{EXPONENT})"
        unit = rf"(?:{re.escape(self.unit)})?{BLANK}" if self.unit else ""
        inner = rf"{unit}(?:{SIGN}{BLANK})?{unit}{body}{BLANK}{unit}"
        return rf"^{BLANK}(?:{inner}|\({BLANK}{inner}\)){BLANK}$"

    @property
    def marks(self) -> str:
        """The characters that group digits: all known marks but the decimal one."""
        return "".join(GROUPS.values()).replace(self.decimal, "")

    def parse(self, text: str) -> float | None:
        """Return the number that a text spells; None if it spells none in this format."""
        number = self._parse(text)
        return self._parse(tidy(text)) if number is None else number

    def _parse(self, text: str) -> float | None:
        if not self._matches[0].match(text):
            return None
        bare = text.replace(self.unit, "") if self.unit else text
        bare = bare.strip(AROUND)
        if self._matches[1].match(bare):
            bare = re.sub(rf"[{self.marks}]", "", bare).replace(self.decimal, ".")
        return -float(bare) if re.match(NEGATIVE, text) else float(bare)

    @cached_property
    def _matches(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        return re.compile(self.pattern), re.compile(self.body)

    def __str__(self) -> str:
        words = [f"a decimal {'comma' if self.decimal == ',' else 'point'}"]
        if self.thousands:
            words.append(f"{_NAMES[self.thousands]} between thousands")
        return " and ".join([*words, *([f"the sign {self.unit}"] if self.unit else [])])


COMMA = "must be a number with a decimal point, got one with a comma"  # see `with_comma`


def with_comma(spelling: NumberFormat | None) -> NumberFormat | None:
    """Return the format of the same numbers with a decimal comma; None where commas are read."""
    own = spelling or NumberFormat()
    return None if "," in (own.decimal, own.thousands) else NumberFormat(",", unit=own.unit)


def tidy(text: str) -> str:
    """Return a number with ASCII digits and marks and its sign in front: -12.50 for 12.50- and
    \u0661\u0662\u066b\u0665\u0660-, ($5) for $(5), 12 for 12.-.
    """
    if not text.isascii():
        digits = (str(unicodedata.digit(c)) if c.isdecimal() else c for c in text)
        text = "".join(digits).translate(FORMS)
    text = NO_CENTS.sub("", text)
    return BEFORE_BRACKET.sub(r"(\1", AT_END.sub(r"-\1", text))


_NAMES = {".": "points", ",": "commas", " ": "blanks", "'": "apostrophes"}


def formats_of(decimal: str | None, unit: str) -> list[NumberFormat]:
    """Return the formats that a column may have, the likeliest first."""
    return [
        NumberFormat(mark, thousands, unit)
        for mark in (".", ",")
        for thousands in GROUPS
        if decimal in (None, mark) and thousands != mark
    ]
