"""POST /v1/score: body -> records -> verdicts -> body, answered in kind and in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scoring.calibration import check_alpha
from scoring.errors import RecordError
from service.answers import ModelName, Results, as_json, as_lines, with_rejected
from service.exchange import Reply, Request
from service.messages import Parsed, RecordReader, Rows
from service.options import Options, options_of
from service.problems import Unsupported
from service.registry import Model
from service.state import Service


class Media(NamedTuple):
    """How one media type is read and answered. `rows` is the fast way, `parse` the exact one."""

    rows: Callable[[RecordReader, bytes], Rows | None]
    parse: Callable[[RecordReader, bytes], Parsed]
    write: Callable[[ModelName, Results], bytes]


MEDIA = {
    b"application/json": Media(RecordReader.rows, RecordReader.parse, as_json),
    b"application/x-ndjson": Media(RecordReader.rows_of_lines, RecordReader.parse_lines, as_lines),
}
JSON = b"application/json"


async def score(service: Service, request: Request) -> Reply:
    """Verdicts of the records in a body."""
    options = options_of(request.query)
    model = service.registry.active
    if options.alpha is not None:
        check_alpha(options.alpha, model.scorer.artifact.calibration.n)
    name, media = _media_of(request)
    with service.limits.held(request):
        body = await service.limits.read(request)
        with service.limits.place():
            rows = media.rows(model.reader, body)
            if rows is not None:
                request.records = len(rows)
                results: Results = await service.engine.score_rows(model, rows, options)
            else:
                results = await _score_exactly(
                    service, model, media.parse(model.reader, body), options
                )
                request.records = len(results)
    service.metrics.records_per_request.observe(request.records)
    named = model.name if options.alpha is None else model.named(options.alpha)
    version = (b"x-model-version", named.version.encode())
    return Reply(200, [(b"content-type", name), version], media.write(named, results))


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
    table, problems = parsed
    if not problems:
        return await service.engine.score_table(model, table, options)
    bad = {problem.record for problem in problems}
    service.monitor.reject(model, len(bad) if options.keep_bad else len(table))
    if not options.keep_bad:
        raise RecordError(problems)
    good = np.array([i for i in range(len(table)) if i not in bad], dtype=np.int64)
    scored = (
        await service.engine.score_table(model, table.take(good), options) if len(good) else []
    )
    return with_rejected(scored, problems, len(table))
