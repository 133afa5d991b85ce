"""bytes -> messages, however odd their client.

uvicorn's own protocol bounds no head, loses the body of a request that asks for another protocol,
and takes trailers for headers.
"""

from __future__ import annotations

import httptools

from vaewatch.service.http.problems import HeadTooLarge, Malformed, MethodNotAllowed
from vaewatch.service.http.wire.ending import Ending
from vaewatch.service.http.wire.faults import NOWHERE, fault_of

MOST_HEAD = 64 << 10  # bytes of a request line, headers and trailers, and of the sizes of chunks
STEP = 16 << 10  # bytes parsed at a time where the head may be too large
MOST_UNREAD = 64 << 10  # bytes of a body that the application has not asked for
MOST_PIPELINED = 64  # requests that wait on one connection for the answers before theirs


class Reader(Ending):
    """A connection that reads requests within bounds."""

    _fed = _body = 0  # bytes of the message that is not whole: all, and those of its body
    _completed = False  # a message has become whole in the present read

    def data_received(self, data: bytes) -> None:
        self._completed = False
        if self._fed + len(data) > MOST_HEAD:
            self._feed_in_steps(data)
            return
        try:  # as in `_feed`, whose call would cost every request
            self.parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as stop:
            self._stop(data, stop)
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.scope is not self.scope:
            self._count(len(data))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserUpgrade, httptools.HttpParserError) as stop:
            self._stop(data, stop)

    def _stop(self, data: bytes, stop: Exception) -> None:
        """Go on after what has stopped the parser."""
        if isinstance(stop, httptools.HttpParserError):
            self._end_with(fault_of(stop))
        else:
            self._ignore_upgrade(data[stop.args[0] :])

    def _feed_in_steps(self, data: bytes) -> None:
        while data and not self._ending:
            step = min(STEP, MOST_HEAD - self._overhead)
            self._completed = False
            self._feed(data[:step])
            self._count(min(step, len(data)))
            data = data[step:]

    @property
    def _overhead(self) -> int:
        """Bytes of the message that are not of its body. Sizes of chunks may be as many again."""
        return self._fed - 2 * self._body

    def _count(self, size: int) -> None:
        """Count bytes of a message that is not whole yet; refuse it if its head is too large."""
        if self._completed:  # which of these bytes are the next message's, nobody knows
            self._fed = self._body = 0
            return
        self._fed += size
        if self._overhead < MOST_HEAD:
            return
        if self._is_open():
            self._end_with(
                HeadTooLarge(
                    "the request line, headers and trailers must be less than "
                    f"{MOST_HEAD:,} bytes together."
                )
            )
        self._fed = self._body = 0  # of line ends before a request there may be any number

    def _should_upgrade(self) -> bool:
        """Have uvicorn leave a request for another protocol to `_ignore_upgrade`."""
        return True

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read a request again without its wish for another protocol, for which the parser has
        left its body out.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._end_with(MethodNotAllowed("CONNECT is for proxies; this is none.", "GET, POST"))
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(t for t in value.split(b",") if t.strip().lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(b"".join(b"%b\r\n" % line for line in (*lines, b"")) + rest)

    def _check_pipeline(self) -> None:
        if self._ending or len(self.pipeline) >= MOST_PIPELINED:
            raise Malformed(f"at most {MOST_PIPELINED} requests may wait on a connection.")

    def on_chunk_header(self) -> None:
        """Drop all headers that come after this one's chunk: they are trailers."""
        self.headers = NOWHERE

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        self._body += len(body)
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > MOST_UNREAD:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._completed, self._fed, self._body = True, 0, 0
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # else it asks for another protocol
            cycle.more_body = False
            cycle.message_event.set()
