"""records -> NDJSON, in which a number stands as it came wherever its text is JSON."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec
import polars as pl

from vaewatch.scoring.files.frames import as_numbers
from vaewatch.scoring.schema import Schema

NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
WHOLE = 2**53  # up to here each whole number has a float of its own


def json_lines(frame: pl.DataFrame, schema: Schema) -> bytes:
    """One object for each row; text in the schema's numeric columns are numbers: 5 stays 5, not
    5.0, and 0.10 stays 0.10.
    """
    texts = {column.name for column in schema.numeric if column.name in frame.columns}
    texts = {name for name in texts if frame.schema[name] == pl.String}
    members: list[pl.Series] = []
    for as_it_came, names in groupby(frame.columns, texts.__contains__):
        if as_it_came:
            members += [_number(frame[name], schema.null_tokens) for name in names]
        else:
            members.append(_members(frame.select(names)))
    lines = pl.select(pl.concat_str([pl.lit("{"), _joined(members), pl.lit("}\n")]))
    return "".join(lines.to_series().to_list()).encode()


def members_of(line: bytes) -> dict[str, msgspec.Raw]:
    """Of an object; each value as it came."""
    return _MEMBERS.decode(line)


def pick(line: bytes, columns: Sequence[str]) -> bytes:
    """The object with those of these members that it has, each as it came."""
    members = members_of(line)
    return msgspec.json.encode({name: members[name] for name in columns if name in members})


def _joined(members: list[pl.Series]) -> pl.Expr:
    return pl.concat_str([pl.lit(member) for member in members], separator=",")


def _members(frame: pl.DataFrame) -> pl.Series:
    """Of each row, as polars writes them; without the braces."""
    objects = frame.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    return objects.str.slice(1).str.head(-1)


def _number(series: pl.Series, null_tokens: tuple[str, ...]) -> pl.Series:
    """One member of each row; what is a number but not JSON, such as +5 or .5, is printed anew."""
    name = pl.lit(f"{msgspec.json.encode(series.name).decode()}:")
    fine = series.str.contains(NUMBER)
    if fine.all(ignore_nulls=False):
        return pl.select(name + series).to_series()
    values = pl.Series(as_numbers(series, null_tokens)[0], nan_to_null=True)
    whole = (values == values.round()) & (values.abs() < WHOLE)
    anew = pl.when(whole).then(values.cast(pl.Int64, strict=False).cast(pl.String))
    text = pl.when(fine).then(series).otherwise(anew.otherwise(values.cast(pl.String)))
    return pl.select(name + text.fill_null("null")).to_series()
