"""A client of the service: records in chunks, retries, typed verdicts. Standard library only.

client = vaewatch.Client("http://127.0.0.1:8000", key="...")
for verdict in client.score([{"amount": 12.5, "country": "NL"}]):
    print(verdict.id, verdict.is_anomaly, [str(reason) for reason in verdict.reasons])
"""

from __future__ import annotations

import http.client
import json
import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from vaewatch.scoring.errors import Problem, RecordError, ScoringError
from vaewatch.scoring.intake.values import plain_records
from vaewatch.scoring.reasons import CalendarReason, Reason
from vaewatch.scoring.score import Parts
from vaewatch.scoring.series.reasons import SeriesReason
from vaewatch.scoring.verdicts import Verdict

BUSY = (429, 503)
NO_PARTS = Parts(math.nan, math.nan, math.nan)  # of a record that was not judged
LONGEST_WAIT = 60.0  # seconds, whatever Retry-After asks for


class ServiceError(ScoringError):
    """The service refused a request, or could not be reached, in which case `status` is None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class ServiceVerdict(Verdict):
    """A verdict as the service gives it.

    id: the record's value in the column that was named `--id` at training; None if it has none,
        or if no column was named.
    """

    id: Any = None


class Client:
    """Talks to one service over one connection; make one for each thread.

    Args:
        url: of the service, as `http://HOST:PORT`.
        key: sent as a bearer token.
        chunk: the number of records in each request.
        retries: how often a chunk is sent again if the service is busy, starting or unreachable.
        timeout: seconds to wait for an answer.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        chunk: int = 500,
        retries: int = 5,
        timeout: float = 30.0,
    ) -> None:
        if chunk < 1 or retries < 0 or not timeout > 0:
            raise ServiceError(
                "chunk must be at least 1, retries at least 0 and timeout above 0, got "
                f"{chunk}, {retries} and {timeout}."
            )
        self._connection, self._base = _connection(url, timeout)
        self._headers = {"content-type": "application/json"}
        if key is not None:
            key = key.strip()
            if not key or not key.isascii() or not key.isprintable():
                raise ServiceError("key must be one line of printable ASCII.")
            self._headers["authorization"] = f"Bearer {key}"
        self.chunk, self.retries = chunk, retries

    def score(
        self,
        records: Any,
        *,
        alpha: float | None = None,
        explain: int | None = None,
        judge: str | None = None,
    ) -> list[ServiceVerdict]:
        """Score records, or the rows of a DataFrame; returns their verdicts in order.

        Args:
            records: a list of records, or a pandas or polars DataFrame.
            alpha: the false-alarm rate of these verdicts; the model's own by default.
            explain: the largest number of reasons for each record, with the `parts` of its score;
                by default three reasons, only for anomalies, and no parts.
            judge: `last`: of an artifact with a window, judge only the newest record of each
                entity; the others are its context. All of them must then fit one chunk.

        A verdict without a full window has `history` say why, and NaN for numbers.

        Raises:
            RecordError: some break the schema; each broken rule names its record.
            ServiceError: the service refused, or could not be reached.
        """
        asked = {"alpha": alpha, "explain": explain, "judge": judge}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        path = f"/v1/score?{query}" if query else "/v1/score"
        rows, verdicts = _rows_of(records), list[ServiceVerdict]()
        if judge == "last" and len(rows) > self.chunk:
            text = f"with judge='last' records must fit one chunk of {self.chunk:,}, got "
            raise ServiceError(f"{text}{len(rows):,}: make a client with a larger chunk.")
        for start in range(0, len(rows), self.chunk):
            body = json.dumps({"records": rows[start : start + self.chunk]}, allow_nan=False)
            verdicts += _verdicts_of(self._ask("POST", path, body, start))
        return verdicts

    def model(self) -> Mapping[str, Any]:
        """Fetch the card of the model that answers."""
        card: Mapping[str, Any] = self._ask("GET", "/v1/model")
        return card

    def recalibrate(self, **asked: Any) -> Mapping[str, Any]:
        """Propose a calibration on recent traffic, with an admin key; nothing changes yet.

        Args:
            asked: the members of the body of `POST /v1/recalibrate`: last, since, until, exclude,
                alpha, force.

        Returns:
            The proposal, as `GET /v1/recalibrate` lists it.

        Raises:
            ServiceError: the service refused, or could not be reached.
        """
        proposal: Mapping[str, Any] = self._ask("POST", "/v1/recalibrate", json.dumps(asked))
        return proposal

    def apply(self, proposal: str, *, force: bool = False) -> Mapping[str, Any]:
        """Put a proposal in place, by its id. `force`: although it is refused."""
        path = f"/v1/recalibrate/{quote(proposal, safe='')}/apply"
        done: Mapping[str, Any] = self._ask("POST", path, json.dumps({"force": force}))
        return done

    def revert(self, proposal: str) -> Mapping[str, Any]:
        """Put back what a proposal has replaced."""
        path = f"/v1/recalibrate/{quote(proposal, safe='')}/revert"
        done: Mapping[str, Any] = self._ask("POST", path)
        return done

    def recalibrations(self) -> list[Mapping[str, Any]]:
        """Fetch the last proposals, newest first."""
        found: list[Mapping[str, Any]] = self._ask("GET", "/v1/recalibrate")["proposals"]
        return found

    def _ask(self, method: str, path: str, body: str | None = None, start: int = 0) -> Any:
        for attempt in range(self.retries + 1):
            last = attempt == self.retries
            try:
                status, headers, content = self._send(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
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

    def _send(
        self, method: str, path: str, body: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._connection.request(method, self._base + path, body, self._headers)
        answer = self._connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


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


def _rows_of(records: Any) -> Sequence[Any]:
    """Records as JSON carries them; a pandas or polars DataFrame is recognised by its methods."""
    if hasattr(records, "collect"):  # a lazy one of polars
        records = records.collect()
    if hasattr(records, "to_dicts"):
        rows: Iterable[Any] = records.to_dicts()
    elif hasattr(records, "to_dict") and hasattr(records, "columns"):
        if not records.columns.is_unique:
            twice = records.columns[records.columns.duplicated()][0]
            raise ServiceError(f"column '{twice}' must be in the DataFrame once, got it twice.")
        rows = records.to_dict(orient="records")
    elif isinstance(records, str | bytes | Mapping) or not isinstance(records, Iterable):
        raise ServiceError(
            f"records must be a list of records or a DataFrame, got a {type(records).__name__}. "
            "Put a single record into a list."
        )
    else:
        rows = records
    return [_sendable(i, row) for i, row in enumerate(plain_records(list(rows)))]


def _sendable(index: int, row: Any) -> Any:
    """Replace NaN, which JSON does not have, by None, and refuse what else it does not have."""
    if not isinstance(row, Mapping):
        rule = f"a record must be an object of column: value, got a {type(row).__name__}"
        raise RecordError((Problem(index, None, "type", rule),))
    return {name: _finite(index, name, value) for name, value in row.items()}


def _finite(index: int, name: str, value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        rule = f"column '{name}' must be a finite number, got infinity"
        raise RecordError((Problem(index, name, "range", rule),))
    if isinstance(value, list):
        return [_finite(index, name, each) for each in value]
    if isinstance(value, Mapping):
        return {key: _finite(index, name, each) for key, each in value.items()}
    return value


def _verdicts_of(answer: Mapping[str, Any]) -> list[ServiceVerdict]:
    try:
        return list(map(_verdict, answer["results"]))
    except (KeyError, TypeError) as error:  # another program's
        raise ServiceError(
            "the service answered 200, but not with verdicts. Is the url that of vaewatch?", 200
        ) from error


def _verdict(result: Mapping[str, Any]) -> ServiceVerdict:
    reasons = tuple(map(_reason, result["reasons"]))
    given = result.get("parts")
    missing = NO_PARTS if "parts" in result else None
    return ServiceVerdict(
        _number(result["score"]),
        _number(result["p_value"]),
        _number(result["severity"]),
        bool(result["is_anomaly"]),
        reasons,
        missing if given is None else Parts(**given),
        result.get("segment"),
        result.get("calibration"),
        result.get("history"),
        result.get("id"),
    )


def _reason(reason: Mapping[str, Any]) -> Reason:
    if "ago" in reason:
        return SeriesReason(**reason)
    return CalendarReason(**reason) if "words" in reason else Reason(**reason)


def _number(value: float | None) -> float:
    """Return NaN for a record that was not judged, as `Scorer.score` does."""
    return math.nan if value is None else value
