"""Table -> ColumnProfiles: what each column of the fit records holds, and what in it looks odd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaewatch.scoring.schema import Column, Kind, code_name, missing_code, other_code
from vaewatch.scoring.standardise import signed_log1p
from vaewatch.scoring.table import Table
from vaewatch.training.records.features import is_count

NEAR_CONSTANT = 0.99  # of the values given are the same
MOSTLY_MISSING = 0.5
ID_LIKE = 0.9  # of the records have a value of their own
RUNNING = 2.0  # whole numbers, all different, in a range this many times their number: a counter
FAR_OUT = 30.0  # standard deviations
SHOWN_VALUES = 3
LONGEST = 40  # characters of a category that are shown


@dataclass(frozen=True)
class ColumnProfile:
    """One column in the fit records; shares are of records, `values` are for people.

    distinct: how many values differ, without missing ones; None if rare texts share a bucket.
    """

    name: str
    kind: str
    missing: float
    distinct: int | None
    values: str
    warnings: tuple[str, ...]


def profile_columns(table: Table) -> tuple[ColumnProfile, ...]:
    """Profile every column, in the schema's order."""
    place = table.schema.place
    return tuple(
        _numeric(column, table.numbers[:, place[column.name]])
        if column.kind is Kind.NUMERIC
        else _discrete(column, table.codes[:, place[column.name]])
        for column in table.schema.columns
    )


def _numeric(column: Column, numbers: NDArray[np.float64]) -> ColumnProfile:
    given = numbers[~np.isnan(numbers)]
    missing = 1 - len(given) / len(numbers)
    if not len(given):
        return ColumnProfile(column.name, column.kind, missing, 0, "", ("no value at all.",))
    values, counts = np.unique(given, return_counts=True)
    low, middle, high = np.quantile(given, [0, 0.5, 1])
    shown = f"{low:.4g} to {high:.4g}, median {middle:.4g}"
    same = float(counts.max()) / len(given)
    warnings = (
        *_missing_warning(missing),
        *_constant_warning(same, f"{values[counts.argmax()]:.6g}"),
        *_running_warning(column, given, len(values)),
        *(_far_warning(given) if same < NEAR_CONSTANT else ()),
    )
    return ColumnProfile(column.name, column.kind, missing, len(values), shown, warnings)


def _discrete(column: Column, codes: NDArray[np.int32]) -> ColumnProfile:
    counts = np.bincount(codes, minlength=missing_code(column) + 1)
    missing = float(counts[missing_code(column)]) / len(codes)
    events = counts[: missing_code(column)]
    given = max(int(events.sum()), 1)
    top = [code for code in np.argsort(-events, kind="stable")[:SHOWN_VALUES] if events[code]]
    shown = ", ".join(f"{_name(column, c)} {events[c] / given:.1%}" for c in top)
    more = int((events > 0).sum()) - len(top)
    others = column.kind is Kind.CATEGORICAL and bool(counts[other_code(column)])
    warnings = (
        *_missing_warning(missing),
        *_constant_warning(float(events.max(initial=0)) / given, _name(column, events.argmax())),
        *_id_warning(column, events, given),
    )
    return ColumnProfile(
        column.name,
        column.kind,
        missing,
        None if others else int((events > 0).sum()),
        shown + (f" and {more} more" if more > 0 else ""),
        warnings,
    )


def clip(text: str) -> str:
    """Shorten a category, which may be a whole letter, to its beginning."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _name(column: Column, code: np.integer[Any]) -> str:
    return clip(str(code_name(column, int(code))))


def _missing_warning(share: float) -> Iterator[str]:
    if share >= MOSTLY_MISSING:
        yield f"{share:.1%} missing: a value there is rare, and may alarm by being there."


def _constant_warning(share: float, value: str) -> Iterator[str]:
    if share == 1:
        yield f"constant: always {value}. Any other value is an event never seen, and alarms."
    elif share >= NEAR_CONSTANT:
        yield f"near-constant: {share:.2%} are {value}. Any other value counts for much."


def _running_warning(column: Column, given: NDArray[np.float64], distinct: int) -> Iterator[str]:
    wide = float(np.ptp(given))
    if column.integer and distinct == len(given) > 10 and wide < RUNNING * len(given):
        yield "id-like: whole numbers, all different, as a counter gives. Name it with --id."


def _far_warning(given: NDArray[np.float64]) -> Iterator[str]:
    values = signed_log1p(given) if is_count(given) else given  # as the network sees them
    deviation = float(values.std())
    if deviation > 0:
        furthest = float(np.abs(values - values.mean()).max()) / deviation
        if furthest > FAR_OUT:
            yield f"far out: one value is {furthest:.0f} deviations from the mean. Is it real?"


def _id_warning(column: Column, events: NDArray[np.int64], given: int) -> Iterator[str]:
    if column.kind is not Kind.CATEGORICAL or given <= 10:
        return
    alone = int(events[other_code(column)]) + int((events[: other_code(column)] == 1).sum())
    if alone >= ID_LIKE * given:
        yield (
            f"id-like: {alone / given:.0%} of the values are rare or unique. They count as one, "
            "so nothing unusual is found here. Name it with --id if it names records, leave it "
            "out with --ignore if it says nothing of them, or declare its --kind if it is no text."
        )
