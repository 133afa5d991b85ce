"""POST /v1/score: body -> records -> verdicts -> body, answered in kind and in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scoring.calibration import check_alpha
from scoring.errors import RecordError
from service.answers import ModelName, Results, as_csv, as_json, as_lines, with_ids, with_rejected
from service.csv_body import no_rows, parse_csv
from service.exchange import Reply, Request
from service.messages import Parsed, RecordReader, Rows
from service.model import Model
from service.options import Options, options_of
from service.problems import Unsupported
from service.state import Service


class Media(NamedTuple):
    """How one media type is read and answered. `rows` is the fast way, `parse` the exact one."""

    rows: Callable[[RecordReader, bytes], Rows | None]
    parse: Callable[[RecordReader, bytes], Parsed]
    write: Callable[[ModelName, Results], bytes]


MEDIA = {
    b"application/json": Media(RecordReader.rows, RecordReader.parse, as_json),
    b"application/x-ndjson": Media(RecordReader.rows_of_lines, RecordReader.parse_lines, as_lines),
    b"text/csv": Media(no_rows, parse_csv, as_csv),
}
JSON = b"application/json"
LARGE_BODY = 64 << 10  # bytes, from which the exact way goes to a thread


class Scored(NamedTuple):
    """A body, what it asked for, and the verdicts of its records."""

    media_type: bytes
    model: ModelName
    body: bytes
    results: Results

    def reply(self) -> Reply:
        version = (b"x-model-version", self.model.version.encode())
        written = MEDIA[self.media_type].write(self.model, self.results)
        return Reply(200, [(b"content-type", self.media_type), version], written)


async def score(service: Service, request: Request) -> Reply:
    """Verdicts of the records in a body."""
    scored = await read_and_score(service, request)
    service.metrics.tally.add(service.metrics.records_per_request, request.records)
    return scored.reply()


async def read_and_score(service: Service, request: Request) -> Scored:
    """Read a body within the limits, and score it as the query wants it."""
    options = options_of(request.query)
    model = service.registry.active
    if options.alpha is not None:
        check_alpha(options.alpha, model.scorer.artifact.calibration.n)
    name, media = _media_of(request)
    with service.limits.held(request):
        body = await service.limits.read(request)
        service.limits.enter(request)
        results = await _score_body(service, request, model, media, body, options)
    named = model.name if options.alpha is None else model.named(options.alpha)
    return Scored(name, named, body, results)


async def _score_body(
    service: Service, request: Request, model: Model, media: Media, body: bytes, options: Options
) -> Results:
    rows = media.rows(model.reader, body)
    if rows is not None:
        request.records = len(rows)
        results = await service.engine.score_rows(model, rows, options)
        return with_ids(results, model.reader.ids(rows))
    if len(body) < LARGE_BODY:
        parsed = media.parse(model.reader, body)
    else:
        parsed = await service.engine.away(media.parse, model.reader, body)
    request.records = parsed.records
    return with_ids(await _score_exactly(service, model, parsed, options), parsed.ids)


def _media_of(request: Request) -> tuple[bytes, Media]:
    given = request.headers.get(b"content-type", JSON)
    name = given if given in MEDIA else given.split(b";")[0].strip().lower()
    if name not in MEDIA:
        known = ", ".join(sorted(media.decode() for media in MEDIA))
        raise Unsupported(f"content-type must be one of {known}, got another one.")
    return name, MEDIA[name]


async def _score_exactly(
    service: Service, model: Model, parsed: Parsed, options: Options
) -> Results:
    """What the fast way would not read: refuse it by name, or score it all the same."""
    if not parsed.problems:
        return await service.engine.score_table(model, parsed.table, options)
    bad = {problem.record for problem in parsed.problems}
    service.monitor.reject(model, len(bad) if options.keep_bad else parsed.records)
    if not options.keep_bad:
        raise RecordError(parsed.problems)
    good = np.array([at not in bad for at in parsed.places.tolist()], dtype=bool)
    table = parsed.table.take(np.flatnonzero(good))
    scored = await service.engine.score_table(model, table, options) if len(table) else []
    return with_rejected(scored, parsed.problems, parsed.records)
