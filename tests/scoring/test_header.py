"""The first lines of CSV, as other programs write them: read right, or refused with a remedy."""

from __future__ import annotations

import io

import pytest

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import Header
from vaewatch.scoring.files.csv import frame_of_rows, read_csv
from vaewatch.scoring.files.header import read_header, refuse_record
from vaewatch.scoring.files.rows import read_rows

CELLS = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}, {"a": "3", "b": "x"}]
BODY = "a,b\n1,x\n2,y\n3,x\n"


def opened(text: str, delimiter: str | None = None) -> tuple[Header, list[dict[str, str]]]:
    stream = io.BytesIO(text.encode())
    header, rest = read_header(stream, delimiter)
    return header, [
        row
        for rows in read_rows(stream, header, rest)
        for row in frame_of_rows(rows, header).to_dicts()
    ]


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY.replace("\n", "\r"),
        BODY.replace("\n", "\r\n"),
        *[BODY.replace(",", mark) for mark in ";\t|~^\x01"],
        "sep=,\n" + BODY,
        "\ufeffsep=;\r\n" + BODY.replace(",", ";").replace("\n", "\r\n"),
        'SEP=\t\n"a"\t"b"\n1\tx\n2\ty\n3\tx\n',
        '"sep=|"\n' + BODY.replace(",", "|"),
        "\ufeff\ufeff" + BODY,
        " a ,\tb\u00a0\n" + BODY[4:],
        BODY.replace("a,b", '"a "," b"'),
    ],
)
def test_each_of_these_is_the_same_file(text: str):
    header, rows = opened(text)
    assert header.names == ("a", "b") and rows == CELLS


def test_lines_count_from_the_file_s_first():
    header, rest = read_header(io.BytesIO(b"sep=;\na;b\n1;2\n3\n"))
    (rows,) = read_rows(io.BytesIO(), header, rest)
    assert rows.lines.tolist() == [3] and rows.bad[0].line == 4


def test_commas_in_quoted_names_are_no_delimiters():
    header, rows = opened('id;"amount, in EUR";"items, all, of them"\n1;2;3\n')
    assert header.delimiter == ";" and len(rows[0]) == 3


def test_commas_in_bare_names_are_no_delimiters_where_the_rows_say_so():
    header, _ = opened("price, EUR;items, all\n1;2\n3;4\n")
    assert header.names == ("price, EUR", "items, all")


def test_decimal_commas_are_no_delimiters():
    header, rows = opened("a;b;c\n1,5;2,5;3,5\n1,0;2,0;3,0\n")
    assert header.delimiter == ";" and rows[0] == {"a": "1,5", "b": "2,5", "c": "3,5"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (",a\n0,5\n1,6\n", ("Unnamed: 0", "a")),
        (",Unnamed: 0,a\n0,0,5\n", ("Unnamed: 0.1", "Unnamed: 0", "a")),
        ("a;b;;\n1;2;;\n", ("a", "b", "Unnamed: 2", "Unnamed: 3")),
        ("a,b\n1,2,\n3,4,\n", ("a", "b", "Unnamed: 2")),
    ],
)
def test_what_has_no_name_is_named_by_its_place(text: str, names: tuple[str, ...]):
    header, rows = opened(text)
    assert header.names == names and len(rows) == text.count("\n") - 1


def test_a_header_that_gets_a_delimiter_fits_its_rows():
    header, _ = opened("a,b\n1,2,\n3,4,\n")
    assert header.raw == b"a,b,"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,,b\n1,2,3\n", "column 2 must have a name in the header"),
        ("a,b,a\n1,2,3\n", "'a' is there 2 times. If the first line is a record, put a line"),
        ("id  x\n1  2\n3  4\n", "columns must be separated by a single mark"),
        ("id x y\n1 2 3\n4 5 6\n", "--delimiter ' '"),
        ("id   x y\n1 2   3\n4 5 6\n", "sed 's/^ *//"),
        ('{"a": 1}\n{"a": 2}\n', "got JSON. Name the file .json, or send it"),
        ('[{"a": 1},\n', "got JSON"),
        ('[\n {"a": 1, "b": 2},\n {"a": 1, "b": 2}\n]', "got JSON"),
        ("# made today\na,b\n1,x\n2,y\n", "it is a comment. Leave such lines out: grep -v '^#'"),
        ("#x\n# y\na\n1\n2\n", "it is a comment"),
        (
            "Report of May\n\na,b\n1,x\n2,y\n",
            "If line 3 holds the names, leave out what is before",
        ),
        ("Report\na;b\n1;x\n2;y\n", "it has 1 field, and the rows have 2"),
        ("a:b:c\n1:2:3\n4:5:6\n", "3 seem to be separated by ':'. Pass --delimiter ':'"),
        ("a||b||c\n1||2||3\n", "here it is '||'. Make it one: sed 's/||/|/g'"),
        ("a,,b\nx,y,z\n1,2,3\n", "in the next line, leave the first line out: tail -n +2"),
        ("'a','b'\n'1','x'\n", "got single ones"),
        ('"a,b"\n"1,x"\n"2,y"\n', "take away the quotes around each line: sed"),
        (" a,a \n1,2\n", "'a' is there 2 times"),
        ("a\0,\0b\0\n\0", "got UTF-16. Convert it: iconv -f UTF-16LE"),
    ],
)
def test_what_would_be_misread_is_refused_with_a_remedy(text: str, message: str):
    with pytest.raises(SchemaError) as caught:
        read_header(io.BytesIO(text.encode()))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x1f\x8b\x08\0", "a file that gzip packed; name it .gz, or unpack it: zcat"),
        (b"PK\x03\x04\x14", "a ZIP archive or an Excel workbook"),
        (b"BZh91AY", "a file that bzip2 packed"),
        (b"ARROW1\0\0", "an Arrow or Feather file"),
        (BODY.encode("utf-32"), "iconv -f UTF-32 -t UTF-8"),
        (BODY.encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("größe,b\n1,2\n".encode("latin-1"), "iconv -f WINDOWS-1252 -t UTF-8"),
    ],
)
def test_another_format_is_named(data: bytes, message: str):
    with pytest.raises(SchemaError) as caught:
        read_header(io.BytesIO(data))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "#a,b\n1,x\n2,y\n",
        "# of items,b\n1,x\n2,y\n",
        "a,b: c\n1,x: y\n",
        "a,,\n1,2,3\n",
        "a:b\n1\n2:3\n",
    ],
)
def test_names_with_marks_in_them_are_names(text: str):
    header, _ = opened(text)
    first = text.split("\n", 1)[0].split(",")[0]
    assert header.names[0] == first


def test_names_that_are_known_with_blanks_keep_them():
    """Artifacts of before learned them."""
    stream = io.BytesIO(b"a, b, c\n1,2,3\n")
    assert read_header(stream, known=("a", " b"))[0].names == ("a", " b", "c")
    one = io.BytesIO(b"a:b\n1:2\n3:4\n")
    assert read_header(one, known=("a:b",))[0].names == ("a:b",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'1,"say \\"hi\\" now"', 'within one it is "", and not \\"'),
        (b'1, "x"', "and no blank may stand before it"),
        ("1,Köln".encode("latin-1"), "Convert the file (iconv -f WINDOWS-1252"),
    ],
)
def test_a_row_that_cannot_be_read_says_why(row: bytes, message: str):
    stream = io.BytesIO(b"a,b\n" + row + b"\n")
    header, rest = read_header(stream)
    (rows,) = read_rows(stream, header, rest)
    assert message in str(rows.bad[0].error())


def test_blanks_part_columns_where_they_are_named_as_the_delimiter():
    assert opened("a b\n1 x\n2 y\n3 x\n", " ")[1] == CELLS
    with pytest.raises(SchemaError, match="columns must be separated by a single mark"):
        opened("a  b\n1  x\n", " ")


def test_a_quote_that_is_never_closed_is_looked_for_once():
    """In a first record, before many short ones: each line end asked for all quotes before it."""
    data = b"a,b,c\n" + b'1,12" pipe,2\n' + b"1,x,2\n" * 400_000
    header, rest = read_header(io.BytesIO(data))
    assert header.names == ("a", "b", "c") and rest.startswith(b"1,12")


def test_one_column_of_texts_stays_one():
    assert opened("note\na b c\nd\n")[1] == [{"note": "a b c"}, {"note": "d"}]


@pytest.mark.parametrize("line", ["0,27.21,8,DE", "5.1,3.5,1.4,setosa", "17,9,4", "x,12"])
def test_a_record_in_the_place_of_the_header_is_refused(line: str):
    header, _ = read_header(io.BytesIO(f"{line}\n".encode()))
    with pytest.raises(SchemaError, match=r"put a line of names before it: \(echo 'c1,c2"):
        refuse_record(header)


def test_a_time_above_a_time_is_a_record():
    data = b"Sat,22 Apr 2017 15:11:58 -0500\nFri,21 Apr 2017 14:20:57 -0500\n"
    header, rest = read_header(io.BytesIO(data))
    with pytest.raises(SchemaError, match="but '22 Apr 2017 15:11:58 -0500' is a time"):
        refuse_record(header, rest)


def test_times_above_numbers_are_names():
    data = b"meter,2026-01-01 00:00,2026-01-01 00:15\nm1,0.3,0.4\n"
    refuse_record(*read_header(io.BytesIO(data)))


def test_a_line_about_the_file_before_the_names_is_left_out():
    data = b"703165,COLD BAY,AK,-9.0\ndate,time,temp,wind\n1,2,3,4\n"
    header, rest = read_header(io.BytesIO(data))
    with pytest.raises(SchemaError, match=r"If the names stand in the next line, .*tail -n \+2"):
        refuse_record(header, rest)


@pytest.mark.parametrize("line", ["0,1,2,3", "country,2019,2020,2021", "a,b", "nan,inf"])
def test_names_that_count_are_names(line: str):
    refuse_record(read_header(io.BytesIO(f"{line}\n".encode()))[0])


def test_a_header_that_comes_again_is_a_bad_row_with_its_line():
    data = b'id,"a ""b"""\n1,"x\ny"\nid,"a ""b"""\r\n2,id\nid,"a ""b"""'
    _, some = read_csv(io.BytesIO(data)).chunks
    assert some.frame.rows() == [("1", "x\ny"), ("2", "id")]
    assert [(bad.line, bad.code, bad.raw) for bad in some.bad] == [
        (4, "header", b'id,"a ""b"""'),
        (6, "header", b'id,"a ""b"""'),
    ]


def test_the_name_of_an_only_column_may_be_a_value():
    stream = io.BytesIO(b"town\nLeer\ntown\n")
    (rows,) = read_rows(stream, *read_header(stream))
    assert (rows.data, rows.bad) == (b"Leer\ntown\n", ())


def test_names_that_are_values_of_their_columns_are_refused():
    with pytest.raises(SchemaError, match="each of its fields is a value of its own column"):
        list(read_csv(io.BytesIO(b"p,x\ne,y\np,x\ne,x\n")).chunks)
