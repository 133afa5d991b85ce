"""Time: which column says when a record was made, how it is written, and what of it is learned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vaewatch.scoring.time.form import (
    NAMES,
    NO_TIME,
    NUMBERS,
    Form,
    is_number,
    moment_of_digits,
    moment_of_number,
)
from vaewatch.scoring.time.parts import Part
from vaewatch.scoring.time.texts import EXAMPLES, DateOrder, moment_of_text

# texts that mean that there is no time
BLANK = ("", "NaT", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None")

LOST = "must hold a time, as all of the fit data do, got none"


class UnreadableTime(ValueError):
    """A value is no time of the column's form; the text says what it must be."""


class LostTime(UnreadableTime):
    """There is no time, although the fit data always have one."""


@dataclass(frozen=True)
class Time:
    """The time column of a schema. It is never learned as a moment, since none comes again.

    Attributes:
        form: how the fit data write it. A record may also give an offset where they give none.
        zone: of the calendar, and of times without an offset; an IANA name.
        required: whether it was never missing in the fit data. Then a record without a time is an
            error; else its calendar is missing.
        calendar: the parts that are learned, each a circular column named by `column_of`.
        first, last: the span of the fit data, as ISO 8601 in UTC.
        nulls: texts that mean that there is no time, since the user said so.
        order: what comes first in dates such as 3/29/2026; None where the fit data hold none.
        assumed: whether the calendar is that of times without an offset whose zone nobody named.
    """

    column: str
    form: Form
    zone: str = "UTC"
    required: bool = True
    calendar: tuple[Part, ...] = ()
    first: str = ""
    last: str = ""
    nulls: tuple[str, ...] = ()
    order: DateOrder | None = field(default=None, repr=False)  # versions stay what they were
    assumed: bool = field(default=False, repr=False)

    @property
    def blank(self) -> tuple[str, ...]:
        """The texts that mean that there is no time."""
        return (*BLANK, *self.nulls)

    def column_of(self, part: Part) -> str:
        """Return the name of the learned column that a part gives."""
        return f"{self.column}.{part}"

    @property
    def rule(self) -> str:
        """What a value of the column must be."""
        return f"must be a time as in the fit data, {self.written}"

    @property
    def written(self) -> str:
        """How the fit data write it."""
        if self.order is None:
            return NAMES[self.form]
        clock = "" if self.form is Form.DATE else " 20:00"
        return f"{self.order} first, such as {EXAMPLES[self.order]}{clock}"

    def accepts(self, form: Form) -> bool:
        """Return whether a time of this form can be read: an offset leaves nothing in doubt, a
        form that lacks what the fit data have does.
        """
        return form is self.form or (self.form is Form.LOCAL and form is Form.OFFSET)

    def parse(self, value: Any) -> tuple[int, Form]:
        """Return the moment of a value as JSON carries it, and the form that it has; without an
        offset the moment is in the schema's zone. NO_TIME of a null.

        Raises:
            LostTime: there is none, but must be.
            UnreadableTime: it is no such time.
        """
        if value is None or value != value or self._is_blank(value):
            if self.required:
                raise LostTime(LOST)
            return NO_TIME, Form.OFFSET
        found = self._parsed(value)
        if found is None or not self.accepts(found[1]):
            raise UnreadableTime(self.rule)
        return found

    def _is_blank(self, value: Any) -> bool:
        return isinstance(value, str) and value.strip() in self.blank

    def _parsed(self, value: Any) -> tuple[int, Form] | None:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return None
        if self.form in NUMBERS:
            if isinstance(value, str) and not is_number(value):
                return None
            try:
                moment = moment_of_number(float(value), self.form)
            except OverflowError:
                return None
            return None if moment is None else (moment, self.form)
        if self.form in (Form.DIGITS, Form.DIGITS_OF_DATE):
            whole = int(value) if isinstance(value, float) and value.is_integer() else value
            return moment_of_digits(str(whole).strip())
        return moment_of_text(value, self.order) if isinstance(value, str) else None
