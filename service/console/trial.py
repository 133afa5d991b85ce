"""POST /console/score: verdicts that are not counted. What a person tries is not traffic.

It reads, limits and scores as /v1/score does, by the same code; only nobody is told of it.
CSV comes back whole: each row as it was sent, with the verdict after it.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace

from vaewatch.scoring.files.chunks import read_header
from vaewatch.scoring.files.rows import read_rows
from vaewatch.service.http.exchange import Reply, Request
from vaewatch.service.model.model import Model
from vaewatch.service.parts import Service
from vaewatch.service.score.answers import CSV_HEADER, Rejected, Result, Results, csv_cells
from vaewatch.service.score.engine import Engine
from vaewatch.service.score.route import read_and_score
from vaewatch.service.watch.monitor import Monitor

CSV = b"text/csv"


@dataclass
class Uncounted(Monitor):
    """Hears of rejected records, and tells nobody."""

    def reject(self, model: Model, n: int) -> None:
        return


def for_trials(service: Service) -> Service:
    """The same models, keys and limits; what is scored is not counted."""
    engine = Engine(lambda model, table, verdicts, seconds: None)
    return replace(service, engine=engine, monitor=Uncounted(service.metrics))


async def try_records(service: Service, request: Request) -> Reply:
    """`service` is one for trials."""
    asked, body, results = await read_and_score(service, request)
    if asked.media_type != CSV:
        return asked.reply(results)
    body = await service.engine.away(rows_with_verdicts, body, results)
    counts = json.dumps(counts_of(results)).encode()
    return Reply(200, [(b"content-type", CSV), (b"x-counts", counts)], body)


def counts_of(results: Results) -> dict[str, int]:
    rejected = sum(isinstance(result, Rejected) for result in results)
    anomalies = sum(isinstance(result, Result) and result.is_anomaly for result in results)
    return {"records": len(results), "anomalies": anomalies, "rejected": rejected}


def rows_with_verdicts(body: bytes, results: Results) -> bytes:
    """The rows of a CSV body, in order, each with its verdict after it."""
    stream = io.BytesIO(body)
    header, rest = read_header(stream)
    rows: list[tuple[int, bytes]] = []
    for block in read_rows(stream, header, rest):
        rows += ((int(line), block.row(i)) for i, line in enumerate(block.lines))
        rows += ((bad.line, bad.raw) for bad in block.bad)
    rows.sort()
    between = header.delimiter.encode()
    names = CSV_HEADER.encode().replace(b",", between)
    verdicts = (header.delimiter.join(csv_cells(result)).encode() for result in results)
    lines = [header.raw + between + names]
    lines += (row + between + cells for (_, row), cells in zip(rows, verdicts, strict=True))
    return header.line_end.join(lines) + header.line_end
