"""Rows with their verdicts, joined in one go, against the same joined row by row."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vaewatch.batch.added import frame_of_verdicts
from vaewatch.batch.encode import Encoder
from vaewatch.scoring.files.csv import CsvFile
from vaewatch.scoring.files.records import Records
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.schema import Column, Kind, Schema
from vaewatch.scoring.verdicts import Verdicts

SCHEMA = Schema((Column("a", Kind.CATEGORICAL), Column("b", Kind.CATEGORICAL)))
TEXT = st.text(st.sampled_from('ab1 ,;\t"\r\né\x85.e-#'), max_size=4)
FIELD = st.sampled_from(
    ["x", "", '""', '"a\n"', '"{d}"', '"\r\n"', '""""', '"1.50"', "\ufeff", "é"]
)
ROW = st.tuples(FIELD, FIELD, st.lists(TEXT, max_size=2))


def file_of(rows: list[Any], delimiter: str, line_end: str) -> tuple[CsvFile, Records]:
    lines = [["a", "b"], *([cell.format(d=delimiter) for cell in row[:2]] for row in rows)]
    text = "".join(delimiter.join(line) + line_end for line in lines)
    source = CsvFile.open("in.csv", io.BytesIO(text.encode()), SCHEMA, delimiter)
    (chunk,) = source.chunks()
    return source, source.parse(chunk)


def verdicts_of(texts: list[list[str]]) -> Verdicts:
    """As many as there are texts, each of them a reason."""
    rng, n = np.random.default_rng(len(texts)), len(texts)
    numbers = (rng.normal(size=n), rng.random(n), 10.0 ** rng.integers(-30, 30, n))
    reasons = [tuple(Reason(text, text, None, 1.0) for text in row) for row in texts]
    return Verdicts(*numbers, rng.random(n) < 0.5, reasons)


@given(
    st.lists(ROW, min_size=1),
    st.sampled_from([",", ";", "\t", "|", " ", "e", ".", "-", "#"]),
    st.sampled_from(["\n", "\r\n"]),
    TEXT.map(lambda text: text.replace("\n", "")),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_rows_get_the_fields_that_polars_writes_for_each_verdict(
    rows: list[Any], delimiter: str, line_end: str, version: str, every: bool
):
    source, records = file_of(rows, delimiter, line_end)
    verdicts = verdicts_of([texts for _, _, texts in rows])
    encoder = Encoder(
        to="csv",
        columns=source.columns,
        chosen=False,
        verbatim=source.header,
        delimiter=delimiter,
        line_end=source.line_end,
        explained=False,
        packing="",
        schema=SCHEMA,
        version=version,
    )
    chosen = np.arange(len(rows)) if every else np.flatnonzero(verdicts.is_anomaly)
    got = encoder.encode(source, records, verdicts, chosen)
    added = frame_of_verdicts(verdicts, version)
    kept, want = records.rows, b""
    assert kept is not None
    for i in chosen.tolist():
        fields = added[i].write_csv(include_header=False, separator=delimiter)[:-1]
        want += delimiter.encode().join([kept.row(i), fields.encode()]) + line_end.encode()
    assert got == want
