"""A CSV of marks -> its lines, for the store and for a fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.incidents.feedback import Label
from vaewatch.scoring.incidents.marks import read_table
from vaewatch.service.feedback.table import rows_of
from vaewatch.training.feedback.marks import read_marks

NOON = 1_774_785_600_000_000  # 2026-03-29T12:00:00Z


def written(folder: Path, *lines: str) -> Path:
    path = folder / "marks.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_store_and_a_fit_take_one_file_for_the_same_marks(tmp_path: Path):
    path = written(
        tmp_path,
        "label,incident,record,kind,group,first,last,columns,reason,at",
        "confirmed,a,,entity,pump,2026-03-29 14:00+02:00,29 Mar 2026 12:05,a; b,,2026-03-30",
        ",,,,,,,,,",  # as spreadsheets leave it
        "",
        'false_alarm,,o7,,,,,,"two\nlines",2026-03-31T09:00:00Z',
    )
    rows = list(rows_of(read_table(path).lines, now=0))
    marks = read_marks(path)
    for row, mark in zip(rows, marks, strict=True):
        kept = {name: row[name] or "" for name in ("label", "incident", "record", "kind", "name")}
        read = (mark.label, mark.incident, mark.record, mark.kind or "", mark.group)
        assert tuple(kept.values()) == read
        assert (row["first"], row["last"], row["at"]) == (mark.first, mark.last, mark.at)
    assert (marks[0].first, marks[0].last) == (NOON, NOON + 300_000_000)


@pytest.mark.parametrize("first", ["1774785600", "1774785600.5", "17", "20260329", "1e9", "-5"])
def test_a_number_is_no_time_since_it_may_be_that_of_a_record(tmp_path: Path, first: str):
    path = written(tmp_path, "label,incident,first,last", f"confirmed,a,{first},{first}")
    with pytest.raises(SchemaError, match="'first' must be a time such as .* counts seconds or"):
        read_table(path)
    with pytest.raises(SchemaError, match="'first' must be a time such as .* counts seconds or"):
        read_marks(path)


def test_an_error_names_the_line_after_a_text_of_two_lines(tmp_path: Path):
    lines = "label,record,reason", 'confirmed,a,"one\ntwo"', "good,b,"
    with pytest.raises(SchemaError, match=r"got another text \(line 4 of '.*marks.csv'\)"):
        read_marks(written(tmp_path, *lines))


def test_only_a_fit_passes_over_other_columns(tmp_path: Path):
    path = written(tmp_path, "label,record,amount,amount", "confirmed,a,7,7")
    assert [mark.label for mark in read_marks(path)] == [Label.CONFIRMED]
    with pytest.raises(SchemaError, match="has an unknown column 'amount'. Known: id, label,"):
        read_table(path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("label,record", "secret,o2"), r"label must be confirmed, .* another text \(line 2 of"),
        (("label,first,last", "confirmed,soon,later"), r"'first' must be .* got another text \("),
        (("label,first,last", "confirmed,2026-01-02,2026-01-01"), "must not be after 'last'"),
        (("label,record", "confirmed,"), "must name an incident, a record, or first and last"),
        (("label,record,kind", "confirmed,a,shop"), r"must be all, segment, .*\(line 2 of"),
        (("label,record,record", "confirmed,a,b"), "each column once, got 'record' again"),
        (("label,record", "confirmed,a,b"), "no more cells than the header, 2: put text with ','"),
        (("label,record", 'confirmed,"a', "confirmed,b"), "quotes are closed: unexpected end"),
        (("label,record", "confirmed,a\0b"), "must be text without NUL"),
        (("record", "a"), "must have a column 'label'"),
    ],
)
def test_what_is_no_mark_is_refused_by_its_line_without_its_value(
    tmp_path: Path, lines: tuple[str, ...], says: str
):
    path = written(tmp_path, *lines)
    with pytest.raises(SchemaError, match=says) as error:
        read_table(path)
    assert "secret" not in str(error.value)
    with pytest.raises(SchemaError, match=says):
        read_marks(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(SchemaError, match="marks.csv' must be readable: No such file"):
        read_table(tmp_path / "marks.csv")
    (tmp_path / "marks.csv").write_bytes("label,record\nconfirmed,caf\xe9\n".encode("latin-1"))
    with pytest.raises(SchemaError, match="marks.csv' must be readable: it is not UTF-8"):
        read_marks(tmp_path / "marks.csv")
