"""The part of a manifest that says how records become features."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Number = int | float  # 1 and 1.0 differ in JSON, and are written again as they were read


class Relation(Struct, frozen=True, omit_defaults=True):
    """A sum of terms that stays within limits. Of an order it is `a - b` or `a - b - c`, and the
    low one 0.
    """

    columns: Annotated[
        tuple[str | tuple[str, ...], ...],
        Meta(description="Of each term a numeric column, or those that are multiplied."),
    ]
    weights: Annotated[tuple[Number, ...], Meta(description="By which each term is multiplied.")]
    low: Annotated[Number, Meta(description="A record whose sum is less breaks the relation.")]
    middle: Annotated[Number, Meta(description="The sum of a usual record.")]
    high: Annotated[
        Number | None,
        Meta(description="A record whose sum is more breaks the relation; null of an order."),
    ] = None
    log: Annotated[
        bool,
        Meta(description="Whether the logarithms of the numbers are added, and not they."),
    ] = False

    @property
    def factors(self) -> list[tuple[str, ...]]:
        """The columns that each term multiplies."""
        return [(own,) if isinstance(own, str) else own for own in self.columns]

    @property
    def names(self) -> list[str]:
        """The columns in it, each once, that of the first term first."""
        return list(dict.fromkeys(name for factors in self.factors for name in factors))


class Lookup(Struct, frozen=True, omit_defaults=True):
    """What a number is by what other columns hold."""

    column: Annotated[str, Meta(description="The numeric column that is looked up.")]
    by: Annotated[
        tuple[str, ...], Meta(description="The columns to look up by, which know their values.")
    ]
    rows: Annotated[
        tuple[tuple[Number, ...], ...],
        Meta(
            description="`[codes..., x, y, slope, a, b]`: a code of each of these columns, a "
            "point of the line, its slope, one over the number of records, and over their sum of "
            "squares about x. The limits are 1 + sqrt(a + b (value - x)^2) times as wide."
        ),
    ]
    low: Annotated[Number, Meta(description="A number that is farther below is unseen.")]
    middle: Annotated[Number, Meta(description="How far a usual record's is above.")]
    high: Annotated[Number, Meta(description="A number that is farther above is unseen.")]
    along: Annotated[
        str | None,
        Meta(description="The numeric column that it is a line of; null for one number each."),
    ] = None

    @property
    def names(self) -> list[str]:
        """Its columns, the looked-up one first."""
        return [self.column, *([] if self.along is None else [self.along]), *self.by]


class Exclusion(Struct, frozen=True, omit_defaults=True):
    """What a value of a column never comes with in another column."""

    column: Annotated[str, Meta(description="A column that knows its values.")]
    code: Annotated[
        int,
        Meta(
            description="The value's code in it. Of numbers 1 is a missing one, and from 2 on "
            "come the column's levels, or 0 where it is a value of its own, or the hours of a "
            "day, or the weekdays from Monday."
        ),
    ]
    other: Annotated[str, Meta(description="The column that it excludes values of.")]
    events: Annotated[
        tuple[int, ...],
        Meta(
            description="The codes that are excluded; of numbers 0 is any number, and where 0 is "
            "a value of its own, any other one."
        ),
    ] = ()
    limits: Annotated[
        tuple[Number, Number] | None,
        Meta(description="`[low, high]`: numbers beyond them are excluded."),
    ] = None
    but: Annotated[
        tuple[int, ...] | None,
        Meta(description="In place of `events`, where these are more: all codes but these."),
    ] = None


class VectorizerState(Struct, frozen=True, omit_defaults=True):
    """How records become features."""

    features: Annotated[
        tuple[tuple[str, int | None, Number, Number, bool], ...],
        Meta(
            description="For each feature `[column, code, mean, deviation, log1p]`. A code of "
            "null is a number, -1 the flag of a missing number, any other the event that the "
            "feature indicates; -2 and -3 are the cosine and the sine of a circular column. The "
            "feature is (value - mean) / deviation, of log1p(value) where log1p is true."
        ),
    ]
    constants: Annotated[
        dict[str, Number],
        Meta(description="Columns with a single value in the fit data: that value, or its code."),
    ]
    shared: Annotated[
        dict[str, tuple[int, ...]],
        Meta(
            description="Of columns with more categories than indicators: how many fit records "
            "had each of the codes that share the indicator of all other values, the last codes "
            "up to that of these. A code that none had is unseen."
        ),
    ] = {}
    limits: Annotated[
        dict[str, tuple[Number, Number]],
        Meta(description="Of numeric columns `[low, high]`: a number beyond them is unseen."),
    ] = {}
    levels: Annotated[
        dict[str, tuple[Number, ...]],
        Meta(description="Of numeric columns that hold few values, these: another is unseen."),
    ] = {}
    whole: Annotated[
        tuple[str, ...], Meta(description="Numeric columns in which a fraction is unseen.")
    ] = ()
    absent: Annotated[
        dict[str, tuple[int, ...]],
        Meta(
            description="Of parts of the time, the hours of a day, or the weekdays from Monday, "
            "0, that are unseen."
        ),
    ] = {}
    relations: Annotated[
        tuple[Relation, ...],
        Meta(description="Between numeric columns: one of a record that breaks one is unseen."),
    ] = ()
    lookups: Annotated[
        tuple[Lookup, ...],
        Meta(description="What numbers are by other columns: one of another number is unseen."),
    ] = ()
    exclusions: Annotated[
        tuple[Exclusion, ...],
        Meta(
            description="Of columns that know some of their values: one of two values that "
            "exclude each other is unseen."
        ),
    ] = ()
    zeros: Annotated[
        tuple[str, ...],
        Meta(
            description="Numeric columns in which 0 is a value of its own among others, by which "
            "exclusions go."
        ),
    ] = ()
