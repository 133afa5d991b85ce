"""POST /v1/score: body -> records -> verdicts -> body, answered in kind and in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vaewatch.scoring.calibration import check_alpha
from vaewatch.scoring.errors import RecordError
from vaewatch.scoring.structs import Rows
from vaewatch.service.http.exchange import Reply, Request
from vaewatch.service.http.problems import Unsupported
from vaewatch.service.model.model import Model
from vaewatch.service.parts import Service
from vaewatch.service.score.answers import (
    ModelName,
    Results,
    as_csv,
    as_json,
    as_lines,
    with_ids,
    with_rejected,
)
from vaewatch.service.score.csv_body import no_rows, parse_csv
from vaewatch.service.score.engine import LARGE
from vaewatch.service.score.messages import Parsed, RecordReader
from vaewatch.service.score.options import Options, options_of


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


class Asked(NamedTuple):
    """What a request asks for, beside its records."""

    media_type: bytes
    model: Model
    options: Options

    @property
    def media(self) -> Media:
        return MEDIA[self.media_type]

    def reply(self, results: Results) -> Reply:
        alpha = self.options.alpha
        named = self.model.name if alpha is None else self.model.named(alpha)
        version = (b"x-model-version", named.version.encode())
        written = self.media.write(named, results)
        return Reply(200, [(b"content-type", self.media_type), version], written)


async def score(service: Service, request: Request) -> Reply:
    """Verdicts of the records in a body."""
    asked, _, results = await read_and_score(service, request)
    service.metrics.tally.add(service.metrics.records_per_request, request.records)
    return asked.reply(results)


async def read_and_score(service: Service, request: Request) -> tuple[Asked, bytes, Results]:
    """Read a body within the limits, and score it as the query wants it."""
    asked = asked_of(service, request)
    with service.limits.held(request):
        body = await service.limits.read(request)
        service.limits.enter(request)
        return asked, body, await _score_body(service, request, asked, body)


def asked_of(service: Service, request: Request) -> Asked:
    options, model = options_of(request.query), service.registry.active
    if options.alpha is not None:
        check_alpha(options.alpha, model.scorer.artifact.calibration.n)
    return Asked(_media_type(request), model, options)


def plain_rows(service: Service, request: Request, asked: Asked, body: bytes) -> Rows | None:
    """The records of a body that needs no unpacking and no thread, and breaks no rule; else None:
    `score` reads it again, and says what is wrong with it.
    """
    if b"content-encoding" in request.headers or len(body) >= LARGE_BODY:
        return None
    if not service.limits.admit(len(body)):
        return None
    rows = asked.media.rows(asked.model.reader, body)
    return rows if rows is None or len(rows) < LARGE else None


async def _score_body(service: Service, request: Request, asked: Asked, body: bytes) -> Results:
    model, media, options = asked.model, asked.media, asked.options
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


def _media_type(request: Request) -> bytes:
    given = request.headers.get(b"content-type", JSON)
    name = given if given in MEDIA else given.split(b";")[0].strip().lower()
    if name not in MEDIA:
        known = ", ".join(sorted(media.decode() for media in MEDIA))
        raise Unsupported(f"content-type must be one of {known}, got another one.")
    return name


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
