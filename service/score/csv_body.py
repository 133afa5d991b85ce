"""CSV body -> checked records, from the same cells as `vaewatch score` reads from a file.

polars is imported when the first CSV body comes: a service that gets none does without it.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.structs import Structs
from vaewatch.scoring.table import parse_records
from vaewatch.service.model.reader import RecordReader
from vaewatch.service.score.messages import CheckedRecords, check_count

if TYPE_CHECKING:
    import polars as pl


def no_rows(reader: RecordReader, body: bytes) -> Structs | None:
    """Leave all CSV to `parse_csv`, which is fast enough."""
    return None


def parse_csv(reader: RecordReader, body: bytes) -> CheckedRecords:
    """Read a header and one record a row."""
    import polars as pl

    from vaewatch.scoring.files.csv import frame_of_rows
    from vaewatch.scoring.files.frames import table_of_frame
    from vaewatch.scoring.files.header import read_header
    from vaewatch.scoring.files.rows import read_rows

    stream = io.BytesIO(body)
    header, rest = read_header(stream, known=reader.schema.names)
    reader.schema.require(list(header.names))
    blocks = list(read_rows(stream, header, rest))
    lines = np.concatenate([np.empty(0, np.int64), *(block.lines for block in blocks)])
    bad = [row for block in blocks for row in block.bad]
    check_count(len(lines) + len(bad), reader.max_records)
    order = np.sort(np.concatenate([lines, np.array([row.line for row in bad], np.int64)]))
    problems = [
        Problem(int(np.searchsorted(order, row.line)), None, row.code, row.message) for row in bad
    ]
    if not len(lines):
        return CheckedRecords(
            parse_records(reader.schema, [])[0], tuple(problems), len(order), lines
        )
    id_column = reader.schema.id if reader.schema.id in header.names else None
    names = [*reader.schema.inputs, *([id_column] if id_column else [])]
    frame = pl.concat([frame_of_rows(block, header, names) for block in blocks if len(block)])
    table, broken = table_of_frame(reader.schema, frame)
    places = np.searchsorted(order, lines)
    problems += [Problem(int(places[p.record]), p.column, p.code, p.message) for p in broken]
    problems.sort(key=lambda problem: problem.record)
    ids = _ids(frame[id_column], places, len(order)) if id_column else None
    return CheckedRecords(table, tuple(problems), len(order), places, ids)


def _ids(column: pl.Series, places: NDArray[np.int64], records: int) -> list[Any]:
    """The id of each record; UNSET for a row that could not be read."""
    ids: list[Any] = [UNSET] * records
    for place, value in zip(places.tolist(), column.to_list(), strict=True):
        ids[place] = value
    return ids
