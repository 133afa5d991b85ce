"""A CSV of feedback -> marks, and the records that they are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.feedback import GroupKind, Label
from vaewatch.scoring.schema import Schema
from vaewatch.training.config import TrainConfig
from vaewatch.training.feedback.marks import Mark, read_marks
from vaewatch.training.feedback.matched import NONE, Keys, match
from vaewatch.training.records.schema import infer_column

MINUTE = 60_000_000
NOON = 1_774_785_600_000_000  # 2026-03-29T12:00:00Z


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "marks.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_as_it_is_exported_is_read(tmp_path: Path):
    path = written(
        tmp_path,
        "id,label,incident,record,group,first,last,columns,reason,by,at,until",
        'm1,confirmed,a1b2,,pump,2026-03-29T12:00:00Z,2026-03-29T12:05:00.5Z,"[""amount""]",'
        '"a, b",ops,2026-03-30T08:00:00Z,',
        "m2,false_alarm,,o7,,,,,,ops,2026-03-30T09:00:00Z,",
    )
    first, second = read_marks(path)
    assert (first.label, first.group) == (Label.CONFIRMED, "pump")
    assert (first.first, first.last) == (NOON, NOON + 5 * MINUTE + 500_000)
    assert (second.label, second.record, second.first) == (Label.FALSE_ALARM, "o7", None)


def test_the_last_mark_of_an_incident_counts_and_a_withdrawn_one_does_not(tmp_path: Path):
    path = written(
        tmp_path,
        "label,incident,record,at",
        "confirmed,a,,2026-03-30T09:00:00Z",
        "false_alarm,a,,2026-03-30T08:00:00Z",
        "confirmed,b,,2026-03-30T08:00:00Z",
        "withdrawn,b,,2026-03-30T09:00:00Z",
        "false_alarm,,o1,2026-03-30T08:00:00Z",
    )
    found = {mark.incident or mark.record: mark.label for mark in read_marks(path)}
    assert found == {"a": Label.CONFIRMED, "o1": Label.FALSE_ALARM}


def test_a_file_must_say_which_records_it_is_about(tmp_path: Path):
    with pytest.raises(SchemaError, match="must have the columns label, and record or first"):
        read_marks(written(tmp_path, "label,incident", "confirmed,a"))


def test_a_file_from_a_spreadsheet_may_begin_with_a_byte_order_mark(tmp_path: Path):
    path = written(tmp_path, "\ufefflabel,record", "confirmed,o1")
    assert [mark.record for mark in read_marks(path)] == ["o1"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_file_from_a_spreadsheet_may_have_other_delimiters(tmp_path: Path, delimiter: str):
    rows = ("label", "record", "reason"), ("confirmed", "a", '"one, two"')
    text = "\r\n".join(delimiter.join(row) for row in rows)
    (tmp_path / "marks.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    [mark] = read_marks(tmp_path / "marks.csv")
    assert (mark.label, mark.record) == ("confirmed", "a")


def test_an_empty_file_has_no_marks(tmp_path: Path):
    (tmp_path / "marks.csv").write_bytes(b"")
    assert read_marks(tmp_path / "marks.csv") == ()


FRAME = pl.DataFrame(
    {
        "order": [1, 2, 3, 4, 5, 6],
        "at": ["12:00", "12:01", "12:02", "12:03", "12:04", None],
        "where": ["NL", "DE", "NL", "DE", "NL", "NL"],
    }
).with_columns(at="2026-03-29T" + pl.col("at") + ":00Z")


def rows_of(mark: Mark, **settings: str) -> list[int]:
    found = match([mark], FRAME, Keys.of(TrainConfig(**settings)))  # type: ignore[arg-type]
    assert found.found.tolist() == [bool((found.of != NONE).any())]
    return np.flatnonzero(found.of != NONE).tolist()


def test_a_record_is_found_by_its_id_alone():
    mark = Mark(Label.CONFIRMED, record="3", first=NOON, last=NOON + 9 * MINUTE)
    assert rows_of(mark, id="order", time="at") == [2]
    assert rows_of(mark, time="at") == []


def test_an_incident_is_all_records_of_its_group_in_its_span():
    mark = Mark(Label.CONFIRMED, "a", group="NL", first=NOON, last=NOON + 2 * MINUTE)
    assert rows_of(mark, time="at", segment="where") == [0, 2]
    assert rows_of(mark, time="at", entity="where") == [0, 2]
    assert rows_of(mark, time="at") == []  # nothing says which records are of NL
    assert rows_of(mark, id="order") == []
    whole = Mark(Label.CONFIRMED, "a", first=NOON, last=NOON + 2 * MINUTE)
    assert rows_of(whole, time="at", segment="where") == [0, 1, 2]


def test_what_is_said_of_a_record_wins_over_its_incident_and_the_later_of_two():
    marks = [
        Mark(Label.FALSE_ALARM, record="2"),
        Mark(Label.CONFIRMED, "a", first=NOON, last=NOON + 2 * MINUTE),
        Mark(Label.EXPECTED, "b", first=NOON + 2 * MINUTE, last=NOON + 3 * MINUTE),
        Mark(Label.CONFIRMED, "c"),
    ]
    found = match(marks, FRAME, Keys.of(TrainConfig(id="order", time="at")))
    assert found.of.tolist() == [1, 0, 2, 2, NONE, NONE]
    assert found.by_span.tolist() == [True, False, True, True, False, False]
    assert found.labelled(Label.CONFIRMED).tolist() == [True] + 5 * [False]
    assert found.missing == 1


SHOPS = pl.DataFrame(
    {
        "order": list(range(24)),
        "at": [f"2026-03-29T12:{minute:02}:00Z" for minute in (*range(12), *range(30, 42))],
        "where": [
            *("NL", "DE", None, "XX", "NL", "DE", "other", "YY", "NL", "DE", "other", "  "),
            *4 * ("NL", "DE", "other"),
        ],
    }
)


def rows_in(mark: Mark, keys: Keys, frame: pl.DataFrame = SHOPS) -> list[int]:
    return np.flatnonzero(match([mark], frame, keys).of != NONE).tolist()


def during(kind: GroupKind | None, group: str, minutes: tuple[int, int] = (0, 11)) -> Mark:
    first, last = (NOON + minute * MINUTE for minute in minutes)
    return Mark(Label.CONFIRMED, "a", kind=kind, group=group, first=first, last=last)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("kind", "group", "minutes", "rows"),
    [
        (GroupKind.ALL, "", (0, 3), [0, 1, 2, 3]),
        (GroupKind.SEGMENT, "NL", (0, 8), [0, 4, 8]),
        (GroupKind.SEGMENT, "", (0, 11), [2, 11]),  # the records without a segment
        (GroupKind.SEGMENT, "other", (0, 11), [6, 10]),  # a category of that name
        (GroupKind.OTHER, "(other)", (0, 7), [3, 7]),
        (GroupKind.OTHER, "other", (0, 5), [3]),
        (GroupKind.ENTITY, "NL", (0, 11), []),
        (None, "NL", (0, 8), [0, 4, 8]),
        (None, "", (2, 4), [2, 3, 4]),
    ],
)
def test_an_incident_takes_the_records_of_its_kind_of_group(
    kind: GroupKind | None, group: str, minutes: tuple[int, int], rows: list[int], known: bool
):
    keys = Keys.of(TrainConfig(id="order", time="at", segment="where"))
    if known:
        keys = replace(keys, learned=infer_column(pl.Series("where", ["NL", "DE", "other"] * 2)))
    assert rows_in(during(kind, group, minutes), keys) == rows


def test_of_a_file_of_before_the_other_segments_are_those_without_a_category():
    """Its marks have no kind, and `other` is the label of the segments without a name."""
    learned = infer_column(pl.Series("where", ["NL", "DE"] * 2))
    keys = Keys("order", "at", "UTC", None, "where", learned)
    rows = [3, 6, 7, 10]
    assert rows_in(during(None, "other"), keys) == rows
    assert rows_in(during(GroupKind.SEGMENT, "other"), keys) == rows


def test_a_fit_that_continues_another_knows_which_segments_have_a_name():
    learned = infer_column(pl.Series("where", ["NL", "XX"] * 2))
    parent = Schema((learned,), segment="where")
    config = TrainConfig(id="order", time="at", segment="where")
    found = rows_in(during(GroupKind.OTHER, "other", (0, 7)), Keys.of(config, parent))
    assert found == [1, 5, 6, 7]
    elsewhere = TrainConfig(id="order", time="at", segment="country")
    assert Keys.of(elsewhere, parent).learned is None


def test_before_a_fit_what_is_frequent_outside_the_incident_has_a_name():
    keys = Keys.of(TrainConfig(id="order", time="at", segment="where"))
    frame = SHOPS.with_columns(where=pl.col("where").replace("YY", "XX"))
    assert rows_in(during(GroupKind.OTHER, "other", (0, 9)), keys, frame) == [3, 7]
    later = frame.with_columns(where=pl.col("where").replace("DE", "XX"))
    assert rows_in(during(GroupKind.OTHER, "other", (0, 9)), keys, later) == []


def test_an_entity_is_found_by_its_whole_name():
    name = " pump\u00a07 " + "x" * 200
    frame = SHOPS.with_columns(where=pl.lit(name))
    keys = Keys.of(TrainConfig(id="order", time="at", entity="where", window=4))
    assert rows_in(during(GroupKind.ENTITY, name.strip(), (2, 3)), keys, frame) == [2, 3]
    assert rows_in(during(GroupKind.SEGMENT, name.strip(), (2, 3)), keys, frame) == []


def test_a_segment_is_found_in_whatever_spelling():
    frame = SHOPS.with_columns(where=pl.lit(7.0))
    keys = Keys.of(TrainConfig(id="order", time="at", segment="where"))
    assert rows_in(during(GroupKind.SEGMENT, "7", (2, 3)), keys, frame) == [2, 3]


def test_the_kind_of_a_group_is_read(tmp_path: Path):
    head = "label,kind,group,first,last"
    line = "confirmed,{},,2026-03-29T12:00:00Z,2026-03-29T12:05:00Z"
    path = written(tmp_path, head, line.format("segment"), line.format(""))
    assert [mark.kind for mark in read_marks(path)] == [GroupKind.SEGMENT, None]
