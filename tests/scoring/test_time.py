from __future__ import annotations

import io
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import polars as pl
import pytest

from vaewatch.scoring.errors import RecordError, SettingError
from vaewatch.scoring.files.csv import CsvFile
from vaewatch.scoring.files.frames import checked_table, frame_of, table_of_frame
from vaewatch.scoring.files.json.ndjson import NdjsonFile
from vaewatch.scoring.intake.values import plain_records
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.structs import StructReader
from vaewatch.scoring.table import Table, parse_records, table_of
from vaewatch.scoring.time.calendar import calendar_of, on_circle, shortest_arc
from vaewatch.scoring.time.form import LAST, NO_TIME, SECOND, Form
from vaewatch.scoring.time.frames import check_moments
from vaewatch.scoring.time.local import to_local, to_utc
from vaewatch.scoring.time.parts import PERIODS, Part, named, shown
from vaewatch.scoring.time.time import Time, UnreadableTime
from vaewatch.scoring.time.values import moments_of, spelled
from vaewatch.scoring.time.zone import zone_named

AMSTERDAM = "Europe/Amsterdam"
AMOUNT = Column("amount", Kind.NUMERIC, low=0.0, high=9.0)


def schema_of(form: Form = Form.OFFSET, zone: str = "UTC", *, required: bool = True) -> Schema:
    parts = (Part.HOUR, Part.WEEKDAY, Part.DAY)
    time = Time("at", form, zone, required, parts)
    circles = tuple(
        Column(time.column_of(p), Kind.CIRCULAR, required=required, period=PERIODS[p])
        for p in parts
    )
    return Schema((AMOUNT, *circles), time=time)


def moment(text: str) -> int:
    at = datetime.fromisoformat(text).astimezone(UTC)
    return round(at.timestamp()) * SECOND


CELLS: dict[Form, list[Any]] = {
    Form.OFFSET: [
        "2024-05-01T03:10:00Z",
        "2024-05-01T03:10:00.25Z",
        "2024-05-01 03:10+02:00",
        "2024-05-01T03:10:00-0730",
        " 2024-05-01T03:10:00 UTC ",
        "2024/05/01 03:10:00 GMT",
        "20240501T031000Z",
        "20240501T0310+02",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
        "2262-04-12T00:00:00Z",
        "1970-01-01T00:00:00Z",
    ],
    Form.LOCAL: [
        "2024-05-01T03:10:00",
        "2024-05-01 03:10",
        "20240501T031059,25",
        "2024-05-01T03:10:00.1234567",
        "2024-05-01T03:10:00+02:00",  # an offset leaves nothing in doubt
        "2024-03-31T02:30:00",  # which clocks skip in Amsterdam
        "2024-10-27T02:30:00",  # which comes twice
    ],
    Form.DATE: ["2024-05-01", "2024/02/29"],
    Form.MONTH: ["2024-05", "1949/12", " 0001-01 "],
    Form.SECONDS: [1714533000, 0, -5, 1714533000.5, "1714533000"],
    Form.MILLISECONDS: [1714533000123, 0],
    Form.MICROSECONDS: [1714533000123456],
    Form.NANOSECONDS: [1714533000123456768],
    Form.DIGITS: ["202405010310", "20240501031059"],
    Form.DIGITS_OF_DATE: ["20240501", "19991231"],
    Form.YEARS: ["2024.5", 1920.08333333333, "1500", 2200, 2023.999999999],
}
OTHERS: list[Any] = [
    *("2024-02-30T00:00:00Z", "2024-05-01T24:00:00Z", "2024-05-01T23:59:60Z", "01.05.2024"),
    *("2024-13", "2024-5", "202405", "2024-05T10:00", "2024-", "2024-05-"),
    *("soon", "2024-13-01", "2024-5-1", "10000-01-01T00:00:00Z", "1e400", "-", "1" * 23),
    *("20240501240000", "202405012360", "20240501235960", "20240532", "20240501 2400"),
]  # fmt: skip


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("zone", ["UTC", AMSTERDAM])
def test_a_time_is_the_same_in_a_record_and_in_a_frame(form: Form, zone: str):
    """Read cell by cell with datetime, and column by column with polars."""
    time = schema_of(form, zone).time
    assert time is not None
    cells = [*OTHERS, *(c for cells in CELLS.values() for c in cells if isinstance(c, str))]
    found = check_moments(time, pl.Series("at", cells))
    for cell, got, bad in zip(cells, found.moments.tolist(), found.bad, strict=True):
        try:
            wanted = int(moments_of(time, [cell])[0])
        except UnreadableTime:
            wanted = NO_TIME
        assert (got, bool(bad)) == (wanted, wanted == NO_TIME), cell
    assert not check_moments(time, pl.Series("at", list(map(str, CELLS[form])))).bad.any()


@pytest.mark.parametrize("value", [None, "", " NA ", math.nan])
def test_no_time_is_missing_however_it_is_said(value: Any):
    """The same code and words in a record and in a frame."""
    schema = schema_of(Form.LOCAL)
    said = "column 'at' must hold a time, as all of the fit data do, got none"
    (problem,) = parse_records(schema, [{"amount": 1, "at": value}])[1]
    assert (problem.code, problem.message) == ("missing", said)
    (problem,) = parse_records(schema, [{"amount": 1, "at": "soon"}])[1]
    assert problem.code == "time" and problem.message.endswith("got a string")


@pytest.mark.parametrize("form", [f for f in Form if "since" in f or f.endswith("seconds")])
def test_numbers_since_1970_are_read_alike(form: Form):
    time = schema_of(form).time
    assert time is not None
    numbers = [float(x) for x in CELLS[form]] + [1e10, 1e12, 1e15, 1e18, 1e25, -1e12]
    found = check_moments(time, pl.Series("at", numbers))
    for number, got in zip(numbers, found.moments.tolist(), strict=True):
        try:
            wanted = int(moments_of(time, [number])[0])
        except UnreadableTime:
            wanted = NO_TIME
        assert got == wanted, number


def test_a_moment_is_the_one_of_datetime():
    schema = schema_of(Form.LOCAL, AMSTERDAM)
    texts = ["2024-07-01T12:00:00", "2024-01-01T12:00:00", "2024-07-01T12:00:00Z"]
    records = [{"amount": 1, "at": text} for text in texts]
    zone = ZoneInfo(AMSTERDAM)
    wanted = [
        round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp()) * SECOND
        for at in map(datetime.fromisoformat, texts)
    ]
    times = table_of(schema, records).times
    assert times is not None and times.tolist() == wanted


def by_every_way(schema: Schema, records: list[dict[str, Any]], folder: Path) -> dict[str, Table]:
    """Read the same records from Python, structs, a frame, CSV, NDJSON and Parquet."""
    frame = pl.DataFrame(records)
    reader = StructReader(schema)
    body = msgspec.json.encode(records)
    rows = msgspec.json.Decoder(list[reader.record]).decode(body)  # type: ignore[name-defined]
    assert reader.plain(rows)
    csv = CsvFile.open("a", io.BytesIO(frame.write_csv().encode()), schema, None)
    lines = NdjsonFile.open("a", io.BytesIO(frame.write_ndjson().encode()), schema, ())
    frame.write_parquet(folder / "a.parquet")
    return {
        "records": table_of(schema, records),
        "structs": reader.table(rows),
        "frame": checked_table(schema, frame),
        "csv": csv.parse(next(iter(csv.chunks()))).table,
        "ndjson": lines.parse(next(iter(lines.chunks()))).table,
        "parquet": checked_table(schema, pl.read_parquet(folder / "a.parquet")),
    }


@pytest.mark.parametrize("form", Form)
def test_every_way_of_the_data_gives_the_same_calendar(form: Form, tmp_path: Path):
    schema = schema_of(form, AMSTERDAM)
    cells = CELLS[form] if form in (Form.DATE, Form.LOCAL, Form.OFFSET) else CELLS[form][:1]
    records = [{"amount": 1.0, "at": cell} for cell in cells]
    tables = by_every_way(schema, records, tmp_path)
    first = tables["records"]
    assert first.times is not None and np.isfinite(first.numbers).all()
    for name, table in tables.items():
        assert table.times is not None, name
        np.testing.assert_array_equal(table.times, first.times, name)
        np.testing.assert_array_equal(table.numbers, first.numbers, name)


def test_python_times_of_every_kind_are_read():
    import pandas as pd

    at = datetime(2024, 5, 1, 3, 10, tzinfo=UTC)
    schema, wanted = schema_of(), moment("2024-05-01T03:10:00+00:00")
    values = [at, pd.Timestamp(at), at.astimezone(ZoneInfo(AMSTERDAM))]
    table = table_of(schema, plain_records([{"amount": 1, "at": v} for v in values]))
    assert table.times is not None and set(table.times.tolist()) == {wanted}
    series = pd.Series([at, at]).dt.tz_convert(AMSTERDAM)
    for data in (
        pd.DataFrame({"amount": [1, 2], "at": series}),
        pl.DataFrame({"amount": [1, 2], "at": [at, at]}),
        pl.DataFrame({"amount": [1, 2], "at": [at, at]}).cast(
            {"at": pl.Datetime("ns", AMSTERDAM)}
        ),
        pl.DataFrame({"amount": [1, 2], "at": ["2024-05-01T03:10:00Z"] * 2}).cast(
            {"at": pl.Categorical}
        ),
    ):
        times = checked_table(schema, frame_of(data)).times
        assert times is not None and times.tolist() == [wanted] * 2


def test_nat_is_a_missing_time():
    import pandas as pd

    at = datetime(2024, 5, 1, 3, 10, tzinfo=UTC)
    frame = frame_of(pd.DataFrame({"amount": [1, 2], "at": [pd.Timestamp(at), pd.NaT]}))
    _, problems = table_of_frame(schema_of(), frame)
    assert [(p.record, p.code) for p in problems] == [(1, "missing")]
    table = checked_table(schema_of(required=False), frame)
    assert np.isnan(table.numbers[1, 1:]).all() and np.isfinite(table.numbers[0]).all()
    records = [{"amount": 1, "at": pd.NaT}, {"amount": 1, "at": np.datetime64("NaT")}]
    with pytest.raises(RecordError, match="column 'at' must hold a time, as all of the fit data"):
        table_of(schema_of(), plain_records(records))


@pytest.mark.parametrize(
    ("form", "cell", "rule"),
    [
        (Form.OFFSET, "2024-05-01T03:10:00", "ISO 8601 with an offset.*got a string"),
        (Form.OFFSET, 1714533000, "ISO 8601 with an offset.*got a number"),
        (Form.OFFSET, True, "got a boolean"),
        (Form.OFFSET, ["2024-05-01T03:10:00Z"], "got a list"),
        (Form.OFFSET, None, "a time, as all of the fit data do"),
        (Form.LOCAL, "2024-05-01", "such as 2026-03-29T20:00:00"),
        (Form.DATE, "2024-05-01T03:10:00", "a date"),
        (Form.SECONDS, 1714533000000, "seconds since 1970"),
        (Form.MILLISECONDS, 1714533000, "milliseconds since 1970"),
        (Form.SECONDS, "2024-05-01", "seconds since 1970"),
        (Form.SECONDS, float("inf"), "seconds since 1970"),
    ],
)
def test_a_time_of_another_form_is_an_error_of_the_record(form: Form, cell: Any, rule: str):
    records = [{"amount": 1, "at": CELLS[form][0]}, {"amount": 1, "at": cell}]
    with pytest.raises(RecordError, match=rf"column 'at' must .*{rule}.*\(record 1\)"):
        table_of(schema_of(form), records)
    table, problems = parse_records(schema_of(form), records)
    assert len(problems) == 1 and np.isnan(table.numbers[1, 1:]).all()


def test_a_record_names_the_time_and_no_part_of_it():
    schema = schema_of()
    assert schema.inputs == ("amount", "at")
    with pytest.raises(RecordError, match="column 'at' must hold a time"):
        table_of(schema, [{"amount": 1, "at.hour": 3.0}])
    with pytest.raises(
        Exception, match="the input must have every column of the schema, but lacks 'at'"
    ):
        checked_table(schema, pl.DataFrame({"amount": [1.0]}))


@pytest.mark.parametrize("zone", ["UTC", AMSTERDAM, "America/St_Johns", "Asia/Kathmandu"])
def test_wall_clocks_are_those_of_zoneinfo(zone: str):
    start = datetime(2024, 1, 1, tzinfo=UTC)
    moments = np.array(
        [round((start + timedelta(minutes=47 * i)).timestamp()) * SECOND for i in range(12_000)]
    )
    where = zone_named(zone)
    local = [datetime.fromtimestamp(m // SECOND, where) for m in moments.tolist()]
    hours = [at.hour + at.minute / 60 for at in local]
    np.testing.assert_allclose(calendar_of(moments, zone, Part.HOUR), hours)
    weekdays = [at.weekday() for at in local]
    np.testing.assert_array_equal(calendar_of(moments, zone, Part.WEEKDAY), weekdays)
    np.testing.assert_array_equal(calendar_of(moments, zone, Part.DAY), [at.day for at in local])
    again = to_utc(to_local(moments, zone), zone)
    assert ((again == moments) | (moments - again == 3600 * SECOND)).all()  # an hour comes twice


def test_clocks_that_are_put_forward_or_back_keep_the_hour_of_the_wall():
    texts = ["2024-03-31T00:30:00Z", "2024-03-31T01:30:00Z", "2024-10-27T00:30:00Z",
             "2024-10-27T01:30:00Z"]  # fmt: skip
    moments = np.array(list(map(moment, texts)))
    assert calendar_of(moments, AMSTERDAM, Part.HOUR).tolist() == [1.5, 3.5, 2.5, 2.5]


def test_an_unknown_zone_is_refused_with_its_like():
    with pytest.raises(SettingError, match="Did you mean 'Europe/Amsterdam'"):
        zone_named("Europe/Amsterdm")
    with pytest.raises(SettingError, match="Did you mean 'UTC'"):
        zone_named("utc")
    for name in ("", "../etc/passwd", "+02:00"):
        with pytest.raises(SettingError, match="a zone must be a name of the IANA database"):
            zone_named(name)


@pytest.mark.parametrize("form", Form)
def test_a_time_that_is_spelled_is_read_again(form: Form):
    time = schema_of(form, AMSTERDAM).time
    assert time is not None
    for cell in CELLS[form][:1]:
        at = int(moments_of(time, [cell])[0])
        assert int(moments_of(time, [spelled(time, at)])[0]) == at
    assert spelled(time, NO_TIME) is None


@pytest.mark.parametrize(("form", "unit"), [(Form.SECONDS, SECOND), (Form.MILLISECONDS, 1000)])
def test_parts_of_a_second_are_spelled_too(form: Form, unit: int):
    time = schema_of(form, AMSTERDAM).time
    assert time is not None
    for rest in (0, 1, 100_001, 500_000, 999_999):
        at = 1714533000 * SECOND + rest
        found = spelled(time, at)
        assert int(moments_of(time, [found])[0]) == at
        assert isinstance(found, float) == (rest % unit > 0)


def test_the_circular_mean_of_two_hours_around_midnight_is_midnight():
    angles = np.array([23.0, 1.0]) * 2 * np.pi / 24
    mean = on_circle(np.cos(angles).mean(keepdims=True), np.sin(angles).mean(keepdims=True), 24.0)
    assert min(mean[0], 24 - mean[0]) < 1e-9


@pytest.mark.parametrize("shift", [0.0, 7.0, 15.0])
def test_the_shortest_arc_is_that_of_a_walk_through_all(shift: float):
    rng = np.random.default_rng(int(shift))
    numbers = (rng.normal(12, 2, 200) + shift) % 24
    start, end = shortest_arc(numbers, 24.0, 0.9)
    length = (end - start) % 24
    assert np.mean((numbers - start) % 24 <= length + 1e-9) >= 0.9
    lengths = [np.sort((numbers - s) % 24)[179] for s in numbers]
    assert length == pytest.approx(min(lengths))


def test_numbers_of_the_calendar_have_names():
    assert [named(3.1667, Part.HOUR), named(23.9999, Part.HOUR)] == ["03:10", "00:00"]
    assert [named(6, Part.WEEKDAY), named(31, Part.DAY), named(12, Part.DAY)] == [
        "Sunday",
        "the 31st",
        "the 12th",
    ]
    assert [shown(3.1667, Part.HOUR), shown(6.0, Part.WEEKDAY), shown(2.0, Part.DAY)] == [
        3.17,
        "Sunday",
        2,
    ]


def test_the_last_moment_has_a_calendar_in_every_zone():
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        assert np.isfinite(calendar_of(np.array([LAST, -LAST // 4]), zone, Part.HOUR)).all()


def test_a_schema_without_a_time_is_written_as_before():
    schema = Schema((AMOUNT,))
    assert "time" not in schema.to_json() and "period" not in schema.to_json()["columns"][0]
    assert "time" not in repr(schema) and "period" not in repr(schema)
    assert schema.inputs == schema.names


def test_a_schema_with_a_time_survives_json():
    schema = schema_of(Form.MILLISECONDS, AMSTERDAM)
    again = msgspec.convert(msgspec.json.decode(msgspec.json.encode(schema.to_json())), Schema)
    assert again == schema and again.time == schema.time and again.circular[0].period == 24
