"""POST /v1/score: body -> records -> results -> body, in kind and in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

from vaewatch.scoring.budget.calibration import check_alpha
from vaewatch.scoring.structs import Structs
from vaewatch.service.http.body import FORM, media_type_in, read_body
from vaewatch.service.http.exchange import HotRoute, HttpHeaders, Reply, Request, Start
from vaewatch.service.http.problems import Malformed, Unsupported, shown
from vaewatch.service.model.model import Model, ModelName
from vaewatch.service.model.reader import RecordReader
from vaewatch.service.score.answers import Results, as_csv, as_json, as_lines
from vaewatch.service.score.csv_body import no_rows, parse_csv
from vaewatch.service.score.engine import LARGE
from vaewatch.service.score.messages import CheckedRecords, parse, parse_lines
from vaewatch.service.score.options import Options, options_of
from vaewatch.service.score.scoring import Asked, Scoring

SCORE = "/v1/score"
JSON, LINES, CSV = b"application/json", b"application/x-ndjson", b"text/csv"
LARGE_BODY = 64 << 10  # bytes; from this size on a thread checks the records


class Media(NamedTuple):
    """How one media type is read and answered.

    rows: reads records that break no rule; None if there are others.
    check: reads any records, and names each broken rule.
    """

    rows: Callable[[RecordReader, bytes], Structs | None]
    check: Callable[[RecordReader, bytes], CheckedRecords]
    write: Callable[[ModelName, Results], bytes]


MEDIA = {
    JSON: Media(RecordReader.rows, parse, as_json),
    LINES: Media(RecordReader.rows_of_lines, parse_lines, as_lines),
    CSV: Media(no_rows, parse_csv, as_csv),
}


@dataclass(frozen=True)
class ScoreRoute:
    """Answers requests for verdicts."""

    scoring: Scoring

    def hot(self) -> HotRoute:
        return HotRoute(SCORE, self.answer, self.plain)

    async def answer(self, request: Request) -> Reply:
        """Read a body within the limits, score it as the query asks, and answer it."""
        asked, _, results = await self.read_and_score(request)
        return self.scoring.reply(request, asked, results)

    async def read_and_score(self, request: Request) -> tuple[Asked, bytes, Results]:
        """Read a body and score it; returns it beside its results."""
        asked, media = self._asked(request)
        body = await read_body(request)
        records = await self._records(media, asked.model, body)
        return asked, body, await self.scoring.score(request, asked, records)

    async def _records(self, media: Media, model: Model, body: bytes) -> Structs | CheckedRecords:
        rows = media.rows(model.reader, body)
        if rows is not None:
            return rows
        if len(body) < LARGE_BODY:
            return media.check(model.reader, body)
        return await self.scoring.engine.away(media.check, model.reader, body)

    def plain(self, request: Request, body: bytes) -> Start | None:
        """Read a whole body that needs no unpacking and no thread, and breaks no rule; None for
        any other, which `answer` reads again to say what is wrong with it.
        """
        asked, media = self._asked(request)
        if b"content-encoding" in request.headers or len(body) >= LARGE_BODY:
            return None
        if not request.place.fits(len(body)):
            return None
        rows = media.rows(asked.model.reader, body)
        if rows is None or len(rows) >= LARGE:
            return None
        request.records = len(rows)
        return partial(self.scoring.start, request, asked, rows)

    def _asked(self, request: Request) -> tuple[Asked, Media]:
        options, model = options_of(request.query), self.scoring.registry.active
        if options.alpha is not None:
            check_alpha(options.alpha, model.scorer.artifact.calibration.n)
        check_judge(options, model)
        media_type = media_type_of(request)
        return Asked(model, options, partial(_reply, media_type, model, options)), MEDIA[
            media_type
        ]


def check_judge(options: Options, model: Model) -> None:
    """Refuse judge=last for a model that judges each record by itself.

    Raises:
        Malformed: it is such a model.
    """
    if options.last and model.window is None:
        raise Malformed("judge=last takes an artifact with a window; this one has none.")


def _reply(media_type: bytes, model: Model, options: Options, results: Results) -> Reply:
    named = model.name if options.alpha is None else model.named(options.alpha)
    written = MEDIA[media_type].write(named, results)
    return Reply(200, _headers(media_type, named.version), written)


@lru_cache(maxsize=64)
def _headers(media_type: bytes, version: str) -> HttpHeaders:
    return (b"content-type", media_type), (b"x-model-version", version.encode())


def media_type_of(request: Request) -> bytes:
    """The media type of a body, which is JSON unless the request says otherwise."""
    given = request.headers.get(b"content-type")
    if given is not None and given in MEDIA:  # as nearly always
        return given
    name = media_type_in(request)
    if name is None or name == FORM:
        return JSON
    if name not in MEDIA:
        known = ", ".join(sorted(media.decode() for media in MEDIA))
        raise Unsupported(f"content-type must be one of {known}, got {shown(name)}.")
    return name
