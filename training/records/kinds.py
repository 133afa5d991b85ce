"""a column of texts -> its kind, and the format of its numbers; in doubt it is refused."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem, SchemaError
from vaewatch.scoring.files.frames import as_numbers
from vaewatch.scoring.schema import NULL_TOKENS, Kind
from vaewatch.scoring.spelling.booleans import are_booleans
from vaewatch.scoring.spelling.categories import BLANKS
from vaewatch.scoring.spelling.columns import parse_spelled
from vaewatch.scoring.spelling.numbers import GROUPS, NumberFormat, formats_of, is_unit, tidy
from vaewatch.scoring.time.written import are_times

NUMBER_SHARE = 0.5  # a text column with more numbers than this was meant as a number column
MOST_UNITS = 4  # currencies that are tried
MOST_WORDS = 30  # spellings of true, false and missing that a boolean column has at most
SHARES = ("%", "\u2030")
# what numbers are made of; the rest of a cell is its unit
DIGITS = r"[0-9.,\s'\u2019\u00a0\u202f\u2009+\u2212()-]|[eE][+-]?[0-9]+$"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
ADDRESS = rf"^{_OCTET}(\.{_OCTET}){{3}}$"  # of the internet, and no grouped digits
CLIP = 40  # characters of a cell that an error shows
# 3 days 02:00:00, -1 day, P3DT2H and 2h 5m
SPAN = (
    r"^-?([0-9]+ days?,?( [+-]?[0-9:.]+)?|P[0-9.YMWDT]+[0-9.HMS]*[YMWDHS]|PT[0-9.HMS]+"
    r"|[0-9]+ ?h(ours?)? ?[0-9]+ ?m(in)?s?( ?[0-9]+ ?s)?)$"
)
# with a decimal point, whatever the decimal mark is: 1.234 may be grouped
POINT = r"(^|[^0-9.,'\s])\s*[0-9]*\.([0-9]{1,2}|[0-9]{4,})([^0-9.,]|$)"
MEND = " Mend them, or set them aside with --rejects FILE."

Bad = NDArray[np.bool_]


class ColumnError(SchemaError):
    """Cells of a column break its rule; the sentence says where the first one stands.

    Attributes:
        row: the first such cell.
        problems: one for each cell, if its record can be set aside.
    """

    def __init__(self, sentence: str, row: int, problems: tuple[Problem, ...] = ()) -> None:
        self.row, self.problems, self._sentence = row, problems, sentence
        super().__init__(self.at(f"row {row + 1}, without the header"))

    def at(self, place: str) -> str:
        """Return the sentence with a place in it."""
        return self._sentence.replace(PLACE, place)


class TimestampError(SchemaError):
    """Columns hold times. `time`: the column that is named as the time of records already."""

    def __init__(self, names: Sequence[str], time: str | None = None) -> None:
        listed = ", ".join(f"'{name}'" for name in names)
        leave = " ".join(f"--ignore {shlex.quote(name)}" for name in names)
        remedy = (
            f"Learn its hour and weekday with --time {shlex.quote(names[0])}{_others(names)}, or "
            f"leave out with {leave}."
        )
        if time is not None:
            remedy = (
                f"--time is '{time}' already: leave out with {leave}, or give the time between "
                "the two as a number."
            )
        what, are = ("columns", "timestamps") if len(names) > 1 else ("column", "a timestamp")
        super().__init__(
            f"{what} {listed} must not be {are}: a moment never comes again, so it cannot be "
            f"learned. {remedy}"
        )


def _others(names: Sequence[str]) -> str:
    """Return what to do with the other columns of times, if there are any."""
    return "".join(f" --ignore {shlex.quote(name)}" for name in names[1:])


PLACE = "\0"  # stands for the place in a sentence


def broken(series: pl.Series, bad: Bad, rule: str, remedy: str = "") -> ColumnError:
    """Return the error of a column in which (N,) cells are `bad`."""
    rows = np.flatnonzero(bad).tolist()
    message = f"column '{series.name}' {rule}"
    problems = tuple(Problem(row, series.name, "type", message) for row in rows)
    text = (
        f"{message}, but {len(rows):,} of {len(series):,} records break that (the first is "
        f"{PLACE}: {_shown(series, rows[0])}).{remedy}"
    )
    return ColumnError(text, rows[0], problems)


def refuse_records(problems: tuple[Problem, ...], rule: str, records: int) -> None:
    """Refuse records, of so many, that break a rule.

    Raises:
        ColumnError: there are some.
    """
    if problems:
        first = min(problem.record for problem in problems)
        raise ColumnError(
            f"{rule}, but {len(problems):,} of {records:,} records break that (the first is "
            f"{PLACE}).{MEND}",
            first,
            problems,
        )


def _shown(series: pl.Series, row: int) -> str:
    return f"'{clip(str(series[row]))}'"


def clip(cell: str) -> str:
    """Shorten a cell that an error or a warning shows."""
    return cell if len(cell) <= CLIP else cell[: CLIP - 1] + "…"


@dataclass(frozen=True)
class TextKind:
    """What a column of texts holds. format: of numbers, if they are not spelled plainly."""

    kind: Kind
    format: NumberFormat | None = None


def kind_of_text(series: pl.Series, decimal: str | None) -> TextKind:
    """Return the kind of a column of texts.

    Args:
        decimal: the decimal mark, if it was declared.

    Raises:
        ColumnError: most cells are numbers, and some are not, or can be read in two ways.
        SchemaError: they are times.
    """
    numbers, bad = as_numbers(series, NULL_TOKENS)
    is_number = ~np.isnan(numbers)
    if not bad.any() and not _may_be_grouped(series, decimal):
        return TextKind(Kind.NUMERIC if is_number.any() else Kind.CATEGORICAL)
    given = given_texts(series)
    if given.n_unique() <= MOST_WORDS and are_booleans(given.unique().to_list()):
        return TextKind(Kind.BOOLEAN)
    if len(given) and given.str.contains(SPAN).all():
        raise no_number(series.name, f"spans of time, such as '{clip(given[0])}'", "seconds")
    if are_times(given):
        raise TimestampError([series.name])
    if given.str.contains(ADDRESS).all():
        return TextKind(Kind.CATEGORICAL)
    spelling = number_format(series, decimal)
    return TextKind(Kind.NUMERIC if spelling else Kind.CATEGORICAL, spelling)


def no_number(name: str, what: str, instead: str) -> SchemaError:
    """Return the error of a column whose type has no kind, but can be given as a number."""
    return SchemaError(
        f"column '{name}' must hold numbers, texts or booleans, got {what}. Give it as a number, "
        f"such as {instead}, or leave it out with --ignore."
    )


def _may_be_grouped(series: pl.Series, decimal: str | None) -> bool:
    """Return whether 1.234 is no plain number, by the decimal mark that was declared."""
    return decimal == "," and bool(series.str.contains(".", literal=True).any())


def given_texts(series: pl.Series) -> pl.Series:
    """The texts without blanks around them, and without those that mean "missing"."""
    text = series.drop_nulls().str.strip_chars(BLANKS)
    return text.filter(~text.is_in(list(NULL_TOKENS)))


def number_format(series: pl.Series, decimal: str | None) -> NumberFormat | None:
    """Return the format of numbers as people write them; None for a column of other texts.

    Raises:
        ColumnError: most cells are numbers of one format, and some are not; or two formats fit,
            and give different numbers.
    """
    given = given_texts(series).unique()
    units = _tidied(given).str.replace_all(DIGITS, "").unique().to_list()
    named = [unit for unit in units if is_unit(unit)][:MOST_UNITS]
    formats = [f for unit in named or [""] for f in formats_of(decimal, unit)]
    read = {f: parse_spelled(given, f) for f in formats}
    fits = [f for f in formats if not read[f].null_count()]
    if not len(given) or not fits:
        _refuse_most(series, read)
        return None
    if named and named[0] in SHARES and "" in units:
        bare = ~series.str.contains(named[0], literal=True).fill_null(True)
        raise broken(series, bare.to_numpy(), f"must have the sign {named[0]} everywhere", MEND)
    _refuse_doubt(series, {f: read[f] for f in fits}, given)
    if decimal is None and fits[0].decimal == ",":
        _refuse_two_marks(series)
    return next((f for f in fits if f.thousands and _is_grouped(given, f)), fits[0])


def _tidied(texts: pl.Series) -> pl.Series:
    """Return texts with their digits and marks in ASCII, as far as they have such."""
    odd = texts.str.contains(r"[^\x00-\x7f]")
    return texts.zip_with(~odd, texts.map_elements(tidy, pl.String)) if odd.any() else texts


def _refuse_two_marks(series: pl.Series) -> None:
    """Refuse a column with a decimal comma, some cells of which have a decimal point."""
    text = _tidied(series.fill_null("")).str.strip_chars(BLANKS)
    points = text.str.contains(POINT)
    if points.any():
        other = text.filter(~points & text.str.contains(r",|\..*\.")).first()
        rule = f"must have one decimal mark, as '{clip(str(other))}' has"
        remedy = f"{MEND[:-1]}, or declare the comma: --decimal , (a point then is one too)."
        raise broken(series, points.to_numpy(), rule, remedy)


def _refuse_doubt(
    series: pl.Series, read: dict[NumberFormat, pl.Series], given: pl.Series
) -> None:
    """Refuse a column that two formats read differently."""
    first, *others = read
    for other in others:
        differ = read[first] != read[other]
        if differ.any():
            cell = given.filter(differ).sort()[0]
            row = int((series.str.strip_chars(BLANKS) == cell).fill_null(False).arg_max() or 0)
            raise ColumnError(
                f"column '{series.name}' must hold numbers that can be read in one way, but "
                f"'{cell}' ({PLACE}) may be {first.parse(cell):.15g} or {other.parse(cell):.15g}. "
                "Declare the decimal mark: --decimal . or --decimal ,",
                row,
            )


def _is_grouped(given: pl.Series, spelling: NumberFormat) -> bool:
    forms = GROUPS[spelling.thousands]
    return bool(given.str.contains(rf"[0-9][{forms}][0-9]{{3}}([^0-9]|$)").any())


def _refuse_most(series: pl.Series, read: dict[NumberFormat, pl.Series]) -> None:
    """Refuse a column that was meant as numbers, of which some cells are none, or none of the
    format that most have.
    """
    text = series.str.strip_chars(BLANKS)
    text = text.set(text.is_in(list(NULL_TOKENS)).fill_null(False), None)
    given = text.is_not_null()
    best = max(read, key=lambda f: int(read[f].count()))
    number = np.zeros(len(series), dtype=bool)
    for spelling in read:
        number |= parse_spelled(text, spelling).is_not_null().to_numpy()
    if number.sum() <= NUMBER_SHARE * len(given_texts(series)):
        return
    bad = (given & parse_spelled(text, best).is_null()).to_numpy()
    row = int(np.flatnonzero(bad)[0])
    rule = f"column '{series.name}' must be a number"
    plain = "" if best == NumberFormat() else f" with {best}, as most cells are"
    raise ColumnError(
        f"{rule}{plain}, got a text in {bad.sum():,} of {len(series):,} records (the first is "
        f"{PLACE}: {_shown(series, row)}). Mend them, set them aside with --rejects FILE, name a "
        f'text that means "missing" with --null, or declare it: --kind '
        f"{series.name}=categorical.",
        row,
        tuple(Problem(i, series.name, "type", rule) for i in np.flatnonzero(bad).tolist()),
    )
