"""exceptions -> problem details (RFC 9457): the only file that gives a fault its status.

`error` repeats the sentence of `detail`, because the Open Inference Protocol wants it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vaewatch.scoring.errors import (
    ArtifactError,
    CalibrationError,
    Problem,
    RecordError,
    SchemaError,
    ScoringError,
    SettingError,
)
from vaewatch.service.model.errors import Conflict, NotReady, NotStorable, StoreAway

MEDIA_TYPE = b"application/problem+json"
MOST_ERRORS = 100  # so that the answer to 10,000 bad records can be read by people
RETRY_AFTER = 1  # seconds
LONGEST_SHOWN = 40  # characters of what a client sent beside its records


def shown(given: str | bytes) -> str:
    """Quote a header, a method or the name of an option, on one line, for the one who sent it."""
    text = given if isinstance(given, str) else given.decode("latin-1")
    return ascii(text[:LONGEST_SHOWN] + "..." * (len(text) > LONGEST_SHOWN))


class Refusal(Exception):
    """Base of the faults that exist only over HTTP."""


class Malformed(Refusal):
    """The body or the query is not what its media type or the route says."""


class Unauthorized(Refusal):
    """The key is missing or unknown."""


class Forbidden(Refusal):
    """The key lacks the scope."""


class NotFound(Refusal):
    """No such route or model."""


class MethodNotAllowed(Refusal):
    """The route is there, the method is not.

    allow: the methods that it takes, as the header of this name lists them.
    """

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class TooSlow(Refusal):
    """The head or the body took longer than `body_timeout`."""


class TooLarge(Refusal):
    """The body, or the number of records in it, is over its limit."""


class HeadTooLarge(Refusal):
    """The request line, headers and trailers are over their limit."""


class Unsupported(Refusal):
    """The media type or the encoding is not one of those that are read here."""


class Overloaded(Refusal):
    """The service holds as many requests or bytes as it may."""


# exception -> (status, code, title); the first match holds
STATUS: Mapping[type[Exception], tuple[int, str, str]] = {
    Malformed: (400, "malformed", "Malformed request"),
    NotStorable: (400, "malformed", "Malformed request"),
    Unauthorized: (401, "unauthorized", "A key is needed"),
    Forbidden: (403, "forbidden", "The key lacks the scope"),
    NotFound: (404, "not_found", "Not found"),
    MethodNotAllowed: (405, "method_not_allowed", "Method not allowed"),
    TooSlow: (408, "too_slow", "The request came too slowly"),
    Conflict: (409, "conflict", "Not possible now"),
    ArtifactError: (409, "artifact", "The artifact was refused"),
    TooLarge: (413, "too_large", "Too large"),
    Unsupported: (415, "unsupported_media", "Unsupported media type"),
    RecordError: (422, "records", "Records break the schema"),
    SchemaError: (422, "columns", "Columns break the schema"),
    CalibrationError: (422, "alpha", "The calibration cannot support this alpha"),
    SettingError: (422, "alpha", "The calibration cannot support this alpha"),
    HeadTooLarge: (431, "head_too_large", "The head is too large"),
    Overloaded: (429, "overloaded", "Too busy"),
    StoreAway: (503, "store_away", "The store does not answer"),
    NotReady: (503, "not_ready", "Not ready"),
    ScoringError: (422, "records", "Not scorable"),
    Exception: (500, "internal", "Our fault"),
}
INTERNAL = "the service failed on this request; its log has the cause under the request id."


class ProblemDetails(msgspec.Struct):
    """The body of RFC 9457, with `error` for the Open Inference Protocol and one entry of `errors`
    for each broken rule.
    """

    title: str
    status: int
    detail: str
    error: str
    code: str
    request_id: str
    errors: Sequence[Problem] = ()
    type: str = "about:blank"


def status_of(error: Exception) -> tuple[int, str, str]:
    """Look up the (status, code, title) of an exception."""
    return next(found for kind, found in STATUS.items() if isinstance(error, kind))


def details_of(error: Exception, request_id: str) -> ProblemDetails:
    """Describe an exception to the caller; of our own faults, say only that they happened."""
    status, code, title = status_of(error)
    detail = str(error) if status != 500 else INTERNAL
    errors = error.problems[:MOST_ERRORS] if isinstance(error, RecordError) else ()
    return ProblemDetails(title, status, detail, detail, code, request_id, errors)


def headers_of(error: Exception) -> list[tuple[bytes, bytes]]:
    """The headers that the answer to an exception needs."""
    headers = [(b"content-type", MEDIA_TYPE)]
    if isinstance(error, (Overloaded, NotReady)):
        headers.append((b"retry-after", str(RETRY_AFTER).encode()))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, (TooSlow, TooLarge)):
        headers.append((b"connection", b"close"))  # the rest of the body is never read
    return headers
