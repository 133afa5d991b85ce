"""a column of texts -> whether it holds dates or times, in whatever spelling."""

from __future__ import annotations

import polars as pl

LOOKED_AT = 2000  # values that decide
MOST = 0.5  # of them: a column with more times than this was meant as times

_DAY, _MONTH, _YEAR = r"(0?[1-9]|[12]\d|3[01])", r"(0?[1-9]|1[0-2])", r"(19|20)\d{2}"
_NAME = r"\p{L}{3,10}\.?"
_DATES = (
    rf"\d{{4}}[-/.]{_MONTH}[-/.]{_DAY}",
    rf"{_DAY}[-/.]{_MONTH}[-/.]{_YEAR}",
    rf"{_MONTH}[-/.]{_DAY}[-/.]{_YEAR}",
    r"(0[1-9]|[12]\d|3[01])[-/.](0[1-9]|1[0-2])[-/.]\d{2}",
    r"(0[1-9]|1[0-2])[-/](0[1-9]|[12]\d|3[01])[-/]\d{2}",
    rf"{_DAY}(st|nd|rd|th)?\.?[ /-]?{_NAME}[ ,/-]*({_YEAR}|'?\d{{2}})",
    rf"{_NAME} {_DAY}(st|nd|rd|th)?,? {_YEAR}",
    r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])T",
)
_ZONE = r" ?(Z|[+-]\d{2}(:?\d{2})?|[A-Z]{3,5})?( ?\([^)]*\))?"
_CLOCK = rf"\d{{1,2}}[:.h]\d{{2}}([:.]\d{{2}}([.,:]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?{_ZONE}"
_DAY_OF_WEEK = r"(\p{L}{2,10}\.?,? )?"
TIME = rf"^{_DAY_OF_WEEK}({'|'.join(_DATES)})([T ,:]+(at )?{_CLOCK})?$"
COMPACT = rf"^{_DATES[-1]}\d{{4,6}}([.,]\d+)?{_ZONE}$"
REVERSED = rf"^{_CLOCK},? ({'|'.join(_DATES)})$"
# `date` and C's asctime: Mon Aug 25 15:41:00 2025, with a zone in between
C_TIME = rf"^\p{{L}}{{3}} {_NAME} +{_DAY} \d{{2}}:\d{{2}}:\d{{2}} ([A-Z]{{3,5}} )?{_YEAR}$"


def are_times(texts: pl.Series) -> bool:
    """Return whether most of the first (N,) texts read as dates or times."""
    head = texts.head(LOOKED_AT)
    found = head.str.contains(f"{TIME}|{COMPACT}|{REVERSED}|{C_TIME}")
    return len(head) > 0 and found.sum() > MOST * len(head)
