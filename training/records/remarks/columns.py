"""Schema, frame -> what a user should know of how their columns are read, before the fit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator

import numpy as np
import polars as pl

from vaewatch.scoring.files.frames import as_categories, table_of_frame
from vaewatch.scoring.schema import NULL_TOKENS, Column, Kind, Schema
from vaewatch.scoring.spelling.categories import BLANKS
from vaewatch.scoring.spelling.numbers import NumberFormat
from vaewatch.scoring.time.form import YEARS
from vaewatch.scoring.time.texts import MONTHS
from vaewatch.training.records.kinds import clip, given_texts
from vaewatch.training.records.rare import mostly_rare
from vaewatch.training.records.remarks.remark import NAMED, Remark
from vaewatch.training.records.time import unit_note

ID_LIKE = "id-like"
UNITS = 4  # of a column of numbers with units
WORDS = 3  # among numbers, at most
SEVERAL = 20  # different values: fewer are grades, sizes or ranges
NUMBER = r"^[+-]?[0-9][0-9.,\s'\u2019\u00a0\u202f]*"
MONTH = rf"({'|'.join(MONTHS).title()})[a-z]{{0,6}}"
# what texts may be, and what to do with them; the first that all values of a column are
LOOKS = {
    r"^0[xX][0-9a-fA-F]+$": "hexadecimal numbers. Write them in decimal to learn numbers",
    r"^[0-2]?[0-9]:[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?( ?[AaPp]\.?[Mm]\.?)?$": (
        "times of day. Give the hour as a number"
    ),
    rf"^(19|20)[0-9]{{2}}[-/. ]?((0[1-9]|1[0-2])|Q[1-4]|W[0-5][0-9]|{MONTH})$|"
    rf"^{MONTH}[-/. ]?(19|20)[0-9]{{2}}$": (
        "months, quarters or weeks, and none of them comes again. Name it with --time, or leave "
        "it out with --ignore"
    ),
    r"^[0-9]+/[0-9]+$": "fractions. Divide them to learn numbers",
    r"""^=?["'].*[0-9].*["']$""": "numbers in quotes. Take these away to learn numbers",
}
TOTALS = ("total", "totals", "sum", "grand total", "subtotal", "gesamt", "summe", "totaal")
# what may mean "missing" in a text, in lower case: what always does in numbers, and more
ABSENT = {token.lower() for token in NULL_TOKENS if token}
ABSENT |= {"-", "--", "?", ".", "#n/a", "<na>", "n.a.", "unknown", "missing"}
# of codes such as 200, 201, 404, each of which comes again; in 961 tables of R packages only codes
# are so, no measures, scores or amounts: some next to one another, and others far apart
LEAST_CODE, CODES, AGAIN = 100, (5, 50), 3  # the least one, so many of them, and so often each
CODED, APART = 0.95, 10  # the share of the values that they are, and the widest gap at least
CODE_NAME = re.compile(
    r"\b(code|zip|zipcode|postcode|postal|plz|sku|ean|gtin|isbn|barcode|fips|naics|sic)\b"
)
FLAGS = 2  # values of a flag, whatever its name
LEADING_ZERO, WHOLE, LEADING_PLUS = r"^0[0-9]+$", r"^[0-9]+$", r"^\+[0-9]+$"


def remarks(schema: Schema, frame: pl.DataFrame, declared: Collection[str]) -> Iterator[Remark]:
    """Name the numbers that are not spelled plainly or may be codes, the texts of which nothing is
    learned, and those that may mean "missing", in columns whose kind was not declared; and a last
    record that sums up.
    """
    if schema.time is not None and (note := unit_note(schema.time)):
        yield Remark("", note)
    for column in schema.columns:
        if column.kind is Kind.CIRCULAR:
            continue
        series = frame[column.name]
        if column.format is not None:
            yield _of_format(series, column.format)
        elif column.name in declared:
            continue
        elif column.kind is Kind.CATEGORICAL:
            if among := list(_of_words(series)):
                yield from among
                continue
            yield from _of_texts(series, column)
            yield from _of_absent(series)
        elif column.kind is Kind.NUMERIC:
            yield from _of_codes(series, column)
    yield from of_records(frame, schema.id)


def of_records(frame: pl.DataFrame, named: str | None) -> Iterator[Remark]:
    """Name a last record that sums up, and ids, in column `named`, that come again."""
    yield from _of_total(frame)
    if named in frame.columns:
        yield from _of_ids(frame[named])


def _of_format(series: pl.Series, spelling: NumberFormat) -> Remark:
    texts = given_texts(series.cast(pl.String))
    cell = texts.gather([int(texts.str.len_chars().arg_max() or 0)])[0]
    return Remark(
        "spelled",
        f"column '{series.name}' is read as numbers with {spelling}: '{cell}' is "
        f"{spelling.parse(cell):.15g}. If they are none: --kind '{series.name}=categorical'.",
    )


def _of_texts(series: pl.Series, column: Column) -> Iterator[Remark]:
    given, name = as_categories(series).drop_nulls(), series.name
    schema = Schema((column,))
    rare = mostly_rare(column, table_of_frame(schema, series.to_frame())[0].codes[:, 0])
    looks = _looks(given) if given.n_unique() > SEVERAL else ""
    text = f"column '{name}' is learned as text, but"
    if looks:
        yield Remark(
            "no text?",
            f"{text} its {given.n_unique():,} values, such as '{clip(given[0])}', look like "
            f"{looks}; if it is text: --kind '{name}=categorical'.",
        )
    elif rare:
        yield Remark(
            ID_LIKE,
            f"{text} {rare:.0%} of its values, such as '{clip(given[0])}', are rare or unique. "
            "They all count as one, so nothing unusual is found there. If they name records: --id "
            f"'{name}'. If they say nothing of a record: --ignore '{name}'. If they are numbers: "
            f"--kind '{name}=numeric' says what is wrong.",
        )


def _of_words(series: pl.Series) -> Iterator[Remark]:
    """Name the few words among numbers that make a column one of text, such as <5."""
    counts = as_categories(series).drop_nulls().str.strip_chars(BLANKS).value_counts(name="n")
    counts = counts.rename({series.name: "text"})
    words = counts.filter(pl.col("text").cast(pl.Float64, strict=False).is_null())
    words = words.sort("n", "text", descending=[True, False])
    if not 1 <= len(words) <= WORDS or len(counts) - len(words) < SEVERAL:
        return
    named = " and ".join(f"'{clip(word)}' in {n:,}" for word, n in words.iter_rows())
    nulls = " ".join(f"--null {shlex.quote(word)}" for word in words["text"])
    yield Remark(
        "numbers?",
        f"column '{series.name}' is learned as text, for the sake of {named} of {len(series):,} "
        f"records: its other {len(counts) - len(words):,} values are numbers. To learn numbers, "
        f"and these as missing: {nulls}. If it is text: --kind "
        f"{shlex.quote(f'{series.name}=categorical')}.",
    )


def _looks(given: pl.Series) -> str:
    """Return what all of the texts look like, and what to do; empty if they are plain texts."""
    bare = given.unique().str.strip_chars(BLANKS)
    for pattern, found in LOOKS.items():
        if bare.str.contains(pattern).all():
            return found
    units = bare.str.replace(NUMBER, "").unique()
    if (
        len(units) > UNITS
        or "" in units
        or not bare.str.contains(rf"{NUMBER}\s*[^0-9\s].{{0,5}}$").all()
    ):
        return ""
    alike = f"'{units[0]}' in them" if len(units) == 1 else "units"
    return f"numbers with {alike}. Take that away to learn numbers"


def _of_absent(series: pl.Series) -> Iterator[Remark]:
    counts = as_categories(series).drop_nulls().str.strip_chars(BLANKS).value_counts(name="n")
    words = pl.col(series.name)
    found = counts.filter(words.str.to_lowercase().is_in(list(ABSENT)))
    found = found.sort("n", words, descending=[True, False]).head(NAMED)
    if len(found):
        named = " and ".join(f"'{word}' in {n:,}" for word, n in found.iter_rows())
        nulls = " ".join(f"--null {shlex.quote(word)}" for word in found[series.name])
        yield Remark(
            "missing?",
            f"column '{series.name}' is learned as text, with {named} of {len(series):,} records "
            f"as a value, not as missing. If it means missing: {nulls}, or leave the cell empty. "
            f"If it is a value: --kind '{series.name}=categorical'.",
        )


def _of_codes(series: pl.Series, column: Column) -> Iterator[Remark]:
    """Name numbers that may be codes: by how they are spelled, by their name, or by their gaps."""
    if series.dtype == pl.String and (spelled := list(_of_spelled(series))):
        yield from spelled
    elif column.integer and CODE_NAME.search(_words(series.name)) and series.n_unique() > FLAGS:
        kind = shlex.quote(f"{series.name}=categorical")
        yield Remark(
            "code-like",
            f"column '{series.name}' is read as numbers, but its name says that it holds codes: "
            "as numbers, those next to one another are nearly the same, and a new one among them "
            f"may be no event. If they are codes: --kind {kind}. If they are numbers: --kind "
            f"{shlex.quote(f'{series.name}=numeric')}.",
        )
    else:
        yield from _of_whole(series, column)


def _words(name: str) -> str:
    """Return the words of a name, in lower case: zipCode is zip code."""
    return re.sub(r"[_. -]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).lower()


def _of_spelled(series: pl.Series) -> Iterator[Remark]:
    """Name whole numbers that are written as codes are."""
    given = given_texts(series)
    if len(given) and given.str.contains(LEADING_PLUS).all() and given.n_unique() > FLAGS:
        yield Remark(
            "code-like",
            f"column '{series.name}' is read as numbers, but all, such as '{clip(given[0])}', "
            "begin with a +, as dialling codes do: as numbers, those next to one another are "
            f"nearly the same. If they are codes: --kind '{series.name}=categorical'; if they "
            f"name records: --id '{series.name}'; if they are numbers: --kind "
            f"'{series.name}=numeric'.",
        )
        return
    codes = given.filter(given.str.contains(LEADING_ZERO))
    if len(codes) and given.str.contains(WHOLE).all():
        yield Remark(
            "code-like",
            f"column '{series.name}' is read as numbers, but some, such as '{clip(codes[0])}', "
            "begin with a 0, as codes do: it is lost, and a code that is new is no event. If they "
            f"are codes: --kind '{series.name}=categorical'; if they name records: --id "
            f"'{series.name}'.",
        )


def _of_whole(series: pl.Series, column: Column) -> Iterator[Remark]:
    if not column.integer or column.low is None or column.low < LEAST_CODE:
        return
    codes = codes_among(series.cast(pl.Float64, strict=False).drop_nulls().drop_nans())
    if codes:
        more = f" and {len(codes) - NAMED} more" if len(codes) > NAMED else ""
        shown = ", ".join(map(str, codes[:NAMED])) + more
        kind = shlex.quote(f"{series.name}=categorical")
        yield Remark(
            "codes?",
            f"column '{series.name}' holds {len(codes)} whole numbers that may be codes: {shown}. "
            "As numbers, those next to one another are nearly the same. If they are codes: "
            f"--kind {kind}. If they are numbers: --kind {shlex.quote(f'{series.name}=numeric')}.",
        )


def codes_among(given: pl.Series) -> list[int]:
    """Return the values that may be codes of whole numbers that are given, ascending; none if they
    look like something else.
    """
    counts = given.value_counts(name="n").sort(given.name)
    again = counts.filter(pl.col("n") >= AGAIN)
    codes = again[given.name].cast(pl.Int64).to_list()
    least, most = CODES
    if not least <= len(codes) <= most or again["n"].sum() < CODED * len(given):
        return []
    low, high = codes[0], codes[-1]
    gaps = np.diff(codes)
    alike = len(str(low)) == len(str(high)) and not (YEARS[0] <= low and high <= YEARS[1])
    return codes if alike and gaps.min() == 1 and gaps.max() >= APART else []


def _of_total(frame: pl.DataFrame) -> Iterator[Remark]:
    for series in frame.tail(1).get_columns():
        if series.dtype == pl.String and str(series[0]).strip(BLANKS).lower() in TOTALS:
            yield Remark(
                "total",
                f"the last record has '{series[0]}' in column '{series.name}': if it sums up the "
                "others, it is no record. Remove it.",
            )


def _of_ids(series: pl.Series) -> Iterator[Remark]:
    given = series.drop_nulls()
    again = given.filter(~given.is_first_distinct())
    if len(again):
        yield Remark(
            "repeated",
            f"column '{series.name}' names the records, but {len(again):,} of its {len(given):,} "
            f"values came before, such as '{clip(str(again[0]))}'. A record that is there twice "
            "counts twice: remove it.",
        )
