"""verdicts -> bodies: JSON, NDJSON or CSV, as the records came."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from itertools import repeat
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from vaewatch.scoring.errors import Problem
from vaewatch.scoring.files.chunks import quoted
from vaewatch.scoring.reasons import Reason
from vaewatch.scoring.score import PART_COLUMNS, Parts
from vaewatch.scoring.verdicts import Verdicts
from vaewatch.service.model.model import ModelName


class Result(msgspec.Struct):
    """The verdict of one record.

    reasons: columns whose expected value lowers the score; a contribution is by how many nats.
    parts: sum to the score; there with `?explain`.
    segment: the name of the record's segment, null where it is missing; `other` stands for those
    that the artifact does not name. There only where the artifact has a segment.
    calibration: which one judged the record: `own`, of its segment, or `pooled`, of all records.
    There only where the artifact has a segment.
    history: how the record stands to those of its entity before it, where the artifact has a
    window: `full`, `new_entity` where the artifact does not know its entity, `lasting` where the
    alarm of its entity lasts, or why it is not judged: `warming_up`, `late`, `repeated`, `ahead`
    of the clock, or `context`, which is a record before the newest with `?judge=last`. Numbers
    and the verdict are then null.
    id: the record's value in the column that was named `--id` at training.
    """

    score: float | None
    p_value: float | None
    severity: float | None
    is_anomaly: bool | None
    reasons: Sequence[Reason] = ()
    parts: Parts | None | UnsetType = UNSET
    segment: str | None | UnsetType = UNSET
    calibration: str | UnsetType = UNSET
    history: str | UnsetType = UNSET
    id: Any = UNSET


class Rejected(msgspec.Struct):
    """Stands in the place of a bad record with `?on_error=null`."""

    errors: list[Problem]
    id: Any = UNSET


Results = Sequence[Result | Rejected]


class ScoreAnswer(msgspec.Struct):
    """Verdicts in the order of the records."""

    model: ModelName
    results: Sequence[Any]  # Result | Rejected, which msgspec could not distinguish when decoding


_encoder = msgspec.json.Encoder()


def results_of(verdicts: Verdicts) -> list[Result]:
    """Verdicts as arrays -> one struct a record."""
    if verdicts.history is not None:
        return _of_windows(verdicts, verdicts.history)
    columns: tuple[Iterable[Any], ...] = (
        verdicts.score.tolist(),
        verdicts.p_value.tolist(),
        verdicts.severity.tolist(),
        verdicts.is_anomaly.tolist(),
        verdicts.reasons,
        repeat(UNSET) if verdicts.parts is None else verdicts.parts,
    )
    if verdicts.segment is not None and verdicts.calibration is not None:
        columns += (verdicts.segment, verdicts.calibration)
    return list(map(Result, *columns))


def _of_windows(verdicts: Verdicts, words: Sequence[str]) -> list[Result]:
    """Return the results of records that are judged with those before them, if they are judged."""
    judged = verdicts.judged.tolist()

    def given(values: Iterable[Any]) -> Iterable[Any]:
        return (value if known else None for value, known in zip(values, judged, strict=True))

    return list(
        map(
            Result,
            given(verdicts.score.tolist()),
            given(verdicts.p_value.tolist()),
            given(verdicts.severity.tolist()),
            given(verdicts.is_anomaly.tolist()),
            verdicts.reasons,
            repeat(UNSET) if verdicts.parts is None else given(verdicts.parts),
            repeat(UNSET),
            repeat(UNSET),
            words,
        )
    )


def with_ids(results: Results, ids: Iterable[Any] | None) -> Results:
    """Give results the ids of their records; None: the schema names no id column."""
    for result, value in zip(results, ids or (), strict=False):
        result.id = value
    return results


def with_rejected(results: Iterable[Result], problems: Iterable[Problem], n: int) -> Results:
    """Put the results of the good records and the problems of the others in their places, of n in
    all.
    """
    bad: dict[int, list[Problem]] = {}
    for problem in problems:
        bad.setdefault(problem.record, []).append(problem)
    good = iter(results)
    return [Rejected(bad[i]) if i in bad else next(good) for i in range(n)]


def as_json(model: ModelName, results: Results) -> bytes:
    """Write a ScoreAnswer."""
    return _encoder.encode(ScoreAnswer(model, results))


def as_lines(model: ModelName, results: Results) -> bytes:
    """Write one result a line; the answer's headers name the model."""
    return _encoder.encode_lines(results)


CSV_HEADER = "anomaly_score,p_value,severity,is_anomaly,top_reasons,error"
SEGMENT_NAMES = ("segment", "calibration")
HISTORY_NAMES = ("history",)


def as_csv(model: ModelName, results: Results) -> bytes:
    """Write a header and one row a record; ids stand first, the parts of scores last, and before
    these the segments, or the words of the histories.
    """
    with_id = any(result.id is not UNSET for result in results)
    with_parts = any(isinstance(r, Result) and r.parts is not UNSET for r in results)
    added = added_header(results)
    header = (*["id"] * with_id, CSV_HEADER, *added, *PART_COLUMNS * with_parts)
    lines = [",".join(header)]
    for result in results:
        cells = (*[_id_cell(result.id)] * with_id, *csv_cells(result), *added_cells(result, added))
        lines.append(",".join((*cells, *_part_cells(result) * with_parts)))
    return ("\n".join(lines) + "\n").encode()


def added_header(results: Results) -> tuple[str, ...]:
    """Return the names of the columns that only some artifacts add to those of CSV_HEADER."""
    for result in results:
        if isinstance(result, Result):
            if result.calibration is not UNSET:
                return SEGMENT_NAMES
            return HISTORY_NAMES if result.history is not UNSET else ()
    return ()


def added_cells(
    result: Result | Rejected, added: tuple[str, ...], delimiter: str = ","
) -> tuple[str, ...]:
    """Write one cell for each of the added names."""
    if isinstance(result, Rejected):
        return ("",) * len(added)
    return tuple(_cell(str(getattr(result, name) or ""), delimiter) for name in added)


def _id_cell(value: Any) -> str:
    return "" if value is UNSET or value is None else _cell(str(value))


def _part_cells(result: Result | Rejected) -> tuple[str, ...]:
    if isinstance(result, Rejected) or not isinstance(result.parts, Parts):
        return ("",) * len(PART_COLUMNS)
    return tuple(map(repr, astuple(result.parts)))


def csv_cells(result: Result | Rejected, delimiter: str = ",") -> tuple[str, ...]:
    """Write one cell for each name of CSV_HEADER."""
    if isinstance(result, Rejected):
        text = " ".join(problem.message for problem in result.errors)
        return "", "", "", "", "", _cell(text, delimiter)
    if result.score is None:
        return "", "", "", "", "", ""
    reasons = _cell("; ".join(map(str, result.reasons)), delimiter)
    alarm = str(result.is_anomaly).lower()
    return repr(result.score), repr(result.p_value), repr(result.severity), alarm, reasons, ""


def _cell(text: str, delimiter: str = ",") -> str:
    """Quote a text where CSV asks for it; an empty one stays empty, for a missing value."""
    return quoted(text, delimiter) if text else ""
