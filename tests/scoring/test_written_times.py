"""Times as people and programs write them: a record at a time, and a column at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.time.form import EPOCH, NO_TIME, SECOND, Form
from vaewatch.scoring.time.frames import check_moments, read_moments
from vaewatch.scoring.time.texts import DateOrder, moment_of_text
from vaewatch.scoring.time.time import Time, UnreadableTime
from vaewatch.scoring.time.values import moments_of
from vaewatch.scoring.time.written import FORMS, moments_of_texts, order_of

DAY_FIRST, MONTH_FIRST = DateOrder.DAY, DateOrder.MONTH
# what is written, its order if it needs one, and the same in ISO 8601
WRITTEN: list[tuple[str, DateOrder | None, str, Form]] = [
    ("29/03/2026", DAY_FIRST, "2026-03-29", Form.DATE),
    ("3/29/2026", MONTH_FIRST, "2026-03-29", Form.DATE),
    ("4/3/2026", DAY_FIRST, "2026-03-04", Form.DATE),
    ("4/3/2026", MONTH_FIRST, "2026-04-03", Form.DATE),
    ("29.3.2026 8:05", DAY_FIRST, "2026-03-29T08:05", Form.LOCAL),
    ("29-03-26, 20:05:07.25", DAY_FIRST, "2026-03-29T20:05:07.25", Form.LOCAL),
    ("3/29/69 12:05 AM", MONTH_FIRST, "1969-03-29T00:05", Form.LOCAL),
    ("3/29/68 12:05 p.m.", MONTH_FIRST, "2068-03-29T12:05", Form.LOCAL),
    ("03/29/2026 20:05 +02:00", MONTH_FIRST, "2026-03-29T18:05Z", Form.OFFSET),
    ("2026-3-9", None, "2026-03-09", Form.DATE),
    ("2026.03.09 7:05", None, "2026-03-09T07:05", Form.LOCAL),
    ("2026-03-29 08:05 PM", None, "2026-03-29T20:05", Form.LOCAL),
    ("29 Mar 2026", None, "2026-03-29", Form.DATE),
    ("29-MAR-26", None, "2026-03-29", Form.DATE),
    ("29. March 2026, 20:05", None, "2026-03-29T20:05", Form.LOCAL),
    ("1st of May 2026", None, "2026-05-01", Form.DATE),
    ("March 29, 2026", None, "2026-03-29", Form.DATE),
    ("Sept. 2nd 2026 at 9:05 pm", None, "2026-09-02T21:05", Form.LOCAL),
    ("2026-Mar-29", None, "2026-03-29", Form.DATE),
    ("Sun, 29 Mar 2026 20:05:07 GMT", None, "2026-03-29T20:05:07Z", Form.OFFSET),  # RFC 9110
    ("Sun, 29 Mar 2026 20:05:07 +0200", None, "2026-03-29T18:05:07Z", Form.OFFSET),  # RFC 5322
    ("29/Mar/2026:20:05:07 -0530", None, "2026-03-30T01:35:07Z", Form.OFFSET),  # Apache's
    ("Sun Mar 29 20:05:07 2026", None, "2026-03-29T20:05:07", Form.LOCAL),  # asctime
    ("Sun Mar  1 20:05:07 UTC 2026", None, "2026-03-01T20:05:07Z", Form.OFFSET),  # date
    ("Sun Mar 29 2026 20:05:07 GMT+0200 (Central European Summer Time)", None,
     "2026-03-29T18:05:07Z", Form.OFFSET),  # JavaScript
    ("2026 Mar", None, "2026-03-01", Form.MONTH),
    ("March 2026", None, "2026-03-01", Form.MONTH),
    ("2026 Q2", None, "2026-04-01", Form.MONTH),
    ("q4-2026", None, "2026-10-01", Form.MONTH),
    ("2026-W13", None, "2026-03-23", Form.DATE),
    ("2026W137", None, "2026-03-29", Form.DATE),
    ("2020 W53", None, "2020-12-28", Form.DATE),
    ("  29 mar 2026 ", None, "2026-03-29", Form.DATE),
]  # fmt: skip
NONE = [
    *("29/03/2026", "29.03.26", "30 Feb 2026", "29 Marble 2026", "Mar", "29 Mar", "Mar 29"),
    *("2026 Q5", "2026-W54", "2021-W53", "2026-W00", "2026-W138", "March 2026 20:05"),
    *("29 Mar 2026 24:00", "29 Mar 2026 13:05 PM", "29 Mar 2026 0:05 AM", "29 Mar 2026 20:60"),
    *("29 Mar 2026 20:05 CET", "29 Mar 2026 20:05 +24:00", "32 Mar 2026", "2026-13-1"),
    *("20:05", "2026", "March", "29 märz 2026", "1/2", "1.2.3.4", "0 May 2026", ""),
]  # fmt: skip


def moment_of(iso: str) -> int:
    at = datetime.fromisoformat(iso)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (at - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(("text", "order", "iso", "form"), WRITTEN)
def test_what_is_written_is_the_moment_that_iso_says(
    text: str, order: DateOrder | None, iso: str, form: Form
):
    assert moment_of_text(text, order) == (moment_of(iso), form)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_time_is_none(text: str):
    assert moment_of_text(text) is None


@pytest.mark.parametrize("order", [None, *DateOrder])
def test_a_column_is_read_as_its_cells_are(order: DateOrder | None):
    check_alike([text for text, *_ in WRITTEN] + NONE, order)


def check_alike(texts: list[str], order: DateOrder | None) -> None:
    moments, forms = moments_of_texts(pl.Series(texts, dtype=pl.String), order)
    for text, got, form in zip(texts, moments.to_list(), forms.tolist(), strict=True):
        wanted = moment_of_text(text, order)
        if wanted is None:
            assert got is None, text
        else:
            assert (got, FORMS[form]) == wanted, text


PIECES = st.sampled_from(
    [*"0123456789/-.:, TQW", "12", "29", "2026", "69", "Mar", "march", "May", "Sun", "Q1", "W53",
     "1st", "20:05", "8:05", ":07", ".5", " PM", "am", "Z", "+02:00", "GMT", " of ", " at "]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(PIECES, min_size=1, max_size=9).map("".join), min_size=1, max_size=20),
    st.sampled_from([None, *DateOrder]),
)
def test_any_texts_are_read_alike(texts: list[str], order: DateOrder | None):
    check_alike(texts, order)


FORMATS = [
    ("%d/%m/%Y %H:%M:%S", DAY_FIRST),
    ("%m/%d/%Y %I:%M:%S %p", MONTH_FIRST),
    ("%d.%m.%Y, %H:%M:%S", DAY_FIRST),
    ("%d %b %Y %H:%M:%S", None),
    ("%B %d, %Y %I:%M:%S %p", None),
    ("%a %b %d %H:%M:%S %Y", None),
    ("%a, %d %b %Y %H:%M:%S GMT", None),
    ("%d/%b/%Y:%H:%M:%S +0000", None),
]


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)), st.sampled_from(FORMATS))
def test_what_strftime_writes_is_read(at: datetime, written: tuple[str, DateOrder | None]):
    at = at.replace(microsecond=0)
    found = moment_of_text(at.strftime(written[0]), written[1])
    assert found is not None
    assert found[0] == moment_of(at.isoformat())


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1500, 1, 1), datetime(2199, 12, 31)))
def test_years_are_read_to_the_second(at: datetime):
    at = at.replace(microsecond=0)
    start, end = (
        at.replace(month=1, day=1, hour=0, minute=0, second=0),
        datetime(at.year + 1, 1, 1),
    )
    year = at.year + (at - start) / (end - start)
    time = Time("at", Form.YEARS)
    assert int(moments_of(time, [year])[0]) == moment_of(at.isoformat())
    found = read_moments(pl.Series([year, 1999.5]))
    assert found is not None and found.moments[0] == moment_of(at.isoformat())


def test_a_week_is_the_one_of_the_calendar():
    """All weeks of 30 years: a week 53 is there where the year has one, and nowhere else."""
    names = [f"{year}-W{week:02}" for year in range(2000, 2030) for week in range(54)]
    found = moments_of_texts(pl.Series(names), None)[0]
    known = [at for at in found.to_list() if at is not None]
    days = (known[-1] - known[0]) // (86_400 * SECOND)
    assert len(known) == days // 7 + 1 == len(set(known))
    check_alike(names, None)


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["4/3/2026", "29/3/2026"], DAY_FIRST),
        (["4/3/26 8:05", "4/29/26 8:05 PM"], MONTH_FIRST),
        (["04.03.2026", "05.03.2026"], DAY_FIRST),
        (["04.03.2026", "03.29.2026"], MONTH_FIRST),
        (["2026-03-04", "4 Mar 2026"], None),
        (["2026-03-04", "2026-03-05", "4/3/2026"], None),  # a slip
        ([None, None], None),
    ],
)
def test_dates_tell_their_order(texts: list[str | None], order: DateOrder | None):
    assert order_of(pl.Series("at", texts, dtype=pl.String)) is order


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["4/3/2026", "3/4/2026"], MONTH_FIRST),
        (["2026-03-04", "2026-03-05", "4/3/2026"], MONTH_FIRST),  # it is read, too
        (["2026-03-04", "4 Mar 2026"], None),
        ([None, None], None),
    ],
)
def test_an_order_that_is_said_holds_where_there_are_such_dates(
    texts: list[str | None], order: DateOrder | None
):
    assert order_of(pl.Series("at", texts, dtype=pl.String), MONTH_FIRST) is order


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["4/3/2026", "5/3/2026"], "'4/3/2026', which may begin with the day or the month"),
        (["4-3-26"], "Say it with --date-order day, or month, or write them as 2026-03-29"),
        (
            ["29/3/2026", "3/29/2026"],
            "got '29/3/2026', which begins with the day, and '3/29/2026'",
        ),
    ],
)
def test_dates_that_do_not_tell_are_asked_about(texts: list[str], said: str):
    with pytest.raises(SchemaError, match=said):
        order_of(pl.Series("at", texts))


def test_an_artifact_reads_its_own_order_and_iso():
    time = Time("at", Form.DATE, order=MONTH_FIRST)
    wanted = moment_of("2026-04-03")
    assert moments_of(time, ["4/3/2026", "2026-04-03"]).tolist() == [wanted, wanted]
    column = pl.Series(["4/3/2026", "2026-04-03", "13/4/2026", "soon"])
    found = check_moments(time, column)
    assert found.moments.tolist() == [wanted, wanted, NO_TIME, NO_TIME]
    said = "must be a time as in the fit data, month first, such as 03/29/2026"
    for value in ("13/4/2026", "soon", 5, None):
        with pytest.raises(
            UnreadableTime, match=said if value is not None else "must hold a time"
        ):
            time.parse(value)


def test_cells_of_other_types_are_none():
    values: list[Any] = [True, [1], {"a": 1}]
    for value in values:
        with pytest.raises(UnreadableTime):
            Time("at", Form.YEARS).parse(value)
