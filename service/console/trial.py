"""POST /console/score: verdicts that are not counted, since what a person tries is not traffic.

It reads, limits and scores as /v1/score does, by the same code. A CSV comes back whole: each row
as it was sent, with its verdict after it.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

from vaewatch.scoring.files.header import read_header
from vaewatch.scoring.files.rows import read_rows
from vaewatch.service.http.exchange import Reply, Request
from vaewatch.service.model.registry import Registry
from vaewatch.service.score.answers import (
    CSV_HEADER,
    Rejected,
    Result,
    Results,
    added_cells,
    added_header,
    csv_cells,
)
from vaewatch.service.score.engine import Engine
from vaewatch.service.score.route import CSV, ScoreRoute, media_type_of
from vaewatch.service.score.scoring import Scoring


@dataclass(frozen=True)
class Trials:
    """Answers what people try."""

    route: ScoreRoute

    @classmethod
    def of(cls, registry: Registry) -> Trials:
        engine = Engine(lambda model, table, verdicts, seconds, place_of: None)
        return cls(ScoreRoute(Scoring(registry, engine, monitor=None)))

    async def answer(self, request: Request) -> Reply:
        """Score a body; a CSV gets its rows back."""
        scoring = self.route.scoring
        asked, body, results = await self.route.read_and_score(request)
        if media_type_of(request) != CSV:
            return scoring.reply(request, asked, results)
        rows = await scoring.engine.away(rows_with_verdicts, body, results)
        counts = json.dumps(counts_of(results)).encode()
        return Reply(200, [(b"content-type", CSV), (b"x-counts", counts)], rows)


def counts_of(results: Results) -> dict[str, int]:
    """Count the records, the anomalies and the rejected ones."""
    rejected = sum(isinstance(result, Rejected) for result in results)
    anomalies = sum(isinstance(result, Result) and bool(result.is_anomaly) for result in results)
    return {"records": len(results), "anomalies": anomalies, "rejected": rejected}


def rows_with_verdicts(body: bytes, results: Results) -> bytes:
    """Copy the rows of a CSV body, in order, each with its verdict after it."""

    stream = io.BytesIO(body)
    header, rest = read_header(stream)
    rows: list[tuple[int, bytes]] = []
    for block in read_rows(stream, header, rest):
        rows += ((int(line), block.row(i)) for i, line in enumerate(block.lines))
        rows += ((bad.line, bad.raw) for bad in block.bad)
    rows.sort()
    between = header.delimiter.encode()
    added = added_header(results)
    names = ",".join((CSV_HEADER, *added)).encode().replace(b",", between)

    def cells_of(result: Result | Rejected) -> bytes:
        more = added_cells(result, added, header.delimiter)
        return header.delimiter.join((*csv_cells(result, header.delimiter), *more)).encode()

    verdicts = map(cells_of, results)
    lines = [header.raw + between + names]
    lines += (row + between + cells for (_, row), cells in zip(rows, verdicts, strict=True))
    return header.line_end.join(lines) + header.line_end
