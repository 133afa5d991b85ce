"""requests -> answers of one service, tried again while it is busy. Standard library only."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from vaewatch.scoring.errors import Problem, RecordError, ScoringError

BUSY = (429, 503)
LONGEST_WAIT = 60.0  # seconds, whatever Retry-After asks for


class ServiceError(ScoringError):
    """The service refused a request, or could not be reached, in which case `status` is None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Connection:
    """One connection to a service; see `vaewatch.service.client.client.Client`.

    lost: whether the last request was sent before, in whole, and that answer never came.
    """

    def __init__(self, url: str, key: str | None, retries: int, timeout: float) -> None:
        self._connection, self._base = _connection(url, timeout)
        self._headers = {"content-type": "application/json"}
        if key is not None:
            key = key.strip()
            if not key or not key.isascii() or not key.isprintable():
                raise ServiceError("key must be one line of printable ASCII.")
            self._headers["authorization"] = f"Bearer {key}"
        self.retries, self.lost = retries, False

    def ask(
        self,
        method: str,
        path: str,
        body: str | None = None,
        start: int = 0,
        *,
        once: str | None = None,
    ) -> Any:
        """Return the object of an answer. start: the number of a body's first record. once: what
        to do if the answer is lost, for a request that must not be sent again then.

        Raises:
            RecordError: records break the schema.
            ServiceError: the service refused, or could not be reached.
        """
        self.lost = False
        if once is not None:
            self._connection.close()  # an idle one may be gone, which looks like a lost answer
        for attempt in range(self.retries + 1):
            last, sent = attempt == self.retries, False
            try:
                self._connection.request(method, self._base + path, body, self._headers)
                sent = True
                status, headers, content = self._answer()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self.lost |= sent
                if self.lost and once is not None:
                    raise ServiceError(f"the answer was lost: {once}") from error
                if last:
                    raise ServiceError(
                        f"the service must be reachable: {type(error).__name__}."
                    ) from error
                wait = 0.0
            else:
                if status not in BUSY or last:
                    return _checked(status, content, start)
                wait = _seconds_of(headers.get("retry-after", "0"))
            time.sleep(max(wait, random.uniform(0.5, 1.0) * 0.1 * 2**attempt))
        raise AssertionError("the last attempt either answers or raises")

    def _answer(self) -> tuple[int, Mapping[str, str], bytes]:
        answer = self._connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()

    def close(self) -> None:
        self._connection.close()


def _connection(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    """Return a connection that is not open yet, and what paths start with."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, TypeError, AttributeError):
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise ServiceError("url must be http://HOST:PORT or https://HOST:PORT.")
    https = parts.scheme == "https"
    kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
    return kind(host, port, timeout=timeout), parts.path.rstrip("/")


def _seconds_of(retry_after: str) -> float:
    """The seconds to wait, within reason; a proxy may give a date instead, which is left to us."""
    return min(float(retry_after), LONGEST_WAIT) if retry_after.isdecimal() else 0.0


def _checked(status: int, content: bytes, start: int) -> Any:
    """Return the answer, or raise the problem that the service reports."""
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):  # a proxy's, say
        raise ServiceError(f"the service answered {status} and no JSON object.", status)
    if status == 200:
        return answer
    try:
        problems = tuple(
            Problem(start + p["record"], p["column"], p["code"], p["message"])
            for p in answer.get("errors", ())
        )
    except (KeyError, TypeError):  # of another program, which has errors of its own
        problems = ()
    if problems:
        raise RecordError(problems)
    raise ServiceError(str(answer.get("detail", f"the service answered {status}.")), status)
