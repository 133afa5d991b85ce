"""What a parser cannot read -> problems, and what takes its place afterwards."""

from __future__ import annotations

import httptools

from vaewatch.service.http.exchange import HttpHeader
from vaewatch.service.http.problems import Malformed, Refusal


class Deaf:
    """Takes the place of a parser that is to parse no more."""

    def feed_data(self, data: bytes) -> None:
        """Drop what a client still sends."""


class Nowhere(list[HttpHeader]):
    """Takes the place of a list of headers for trailers: any of them could be `authorization`."""

    def append(self, header: HttpHeader) -> None:
        """Drop a trailer."""


NOWHERE = Nowhere()


def fault_of(error: httptools.HttpParserError) -> Exception:
    """Say what a parser could not read; it quotes nothing of what was sent."""
    cause = error.__context__
    if isinstance(cause, Refusal):
        return cause
    if isinstance(error, httptools.HttpParserCallbackError):
        return Malformed("the address of the request must be a path and a query in ASCII.")
    first, space, rest = str(error).replace("`", "").partition(" ")
    first = first if "-" in first else first.lower()  # the names of headers are kept
    return Malformed(f"the request must be HTTP/1.1: {first}{space}{rest}.")
