"""A client of the service: records in chunks, retries, typed verdicts. Standard library only.

client = vaewatch.Client("http://127.0.0.1:8000", key="...")
for verdict in client.score([{"amount": 12.5, "country": "NL"}]):
    print(verdict.id, verdict.is_anomaly, [str(reason) for reason in verdict.reasons])
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

from vaewatch.scoring.series.history import Standing
from vaewatch.service.client.connection import Connection, ServiceError
from vaewatch.service.client.records import rows_of
from vaewatch.service.client.verdicts import ServiceVerdict, verdicts_of

PROPOSED = "the proposal may have been made. See recalibrations() before you ask for another."
MOST_OF_PAGE = 1_000  # incidents or marks


class Client:
    """Talks to one service over one connection; make one for each thread.

    Args:
        url: of the service, as `http://HOST:PORT`.
        key: sent as a bearer token.
        chunk: the number of records in each request.
        retries: how often a chunk is sent again if the service is busy, starting or unreachable,
            or its answer is lost.
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
        self._connection, self.chunk = Connection(url, key, retries, timeout), chunk

    @property
    def retries(self) -> int:
        return self._connection.retries

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
            ServiceError: the service refused, or could not be reached; or it had judged a chunk
                already whose answer was lost, and knows its records from their history.
        """
        asked = {"alpha": alpha, "explain": explain, "judge": judge}
        path = _path("/v1/score", asked)
        rows, verdicts = rows_of(records), list[ServiceVerdict]()
        if judge == "last" and len(rows) > self.chunk:
            text = f"with judge='last' records must fit one chunk of {self.chunk:,}, got "
            raise ServiceError(f"{text}{len(rows):,}: make a client with a larger chunk.")
        for start in range(0, len(rows), self.chunk):
            body = json.dumps({"records": rows[start : start + self.chunk]}, allow_nan=False)
            found = verdicts_of(self._connection.ask("POST", path, body, start))
            if self._connection.lost and any(each.history == Standing.REPEATED for each in found):
                raise ServiceError(
                    f"the answer of records {start:,} to {start + len(found) - 1:,} was lost "
                    "after the service had taken them into the history: sent again, they are "
                    "repeated. Their alarms are in its incidents and metrics."
                )
            verdicts += found
        return verdicts

    def model(self) -> Mapping[str, Any]:
        """Fetch the card of the model that answers."""
        card: Mapping[str, Any] = self._connection.ask("GET", "/v1/model")
        return card

    def recalibrate(self, **asked: Any) -> Mapping[str, Any]:
        """Propose a calibration on recent traffic, with an admin key; nothing changes yet.

        Args:
            asked: the members of the body of `POST /v1/recalibrate`: last, since, until, exclude,
                alpha, force.

        Returns:
            The proposal, as `GET /v1/recalibrate` lists it.

        Raises:
            ServiceError: the service refused, or could not be reached; or the answer was lost,
                after which it is not asked for another proposal.
        """
        proposal: Mapping[str, Any] = self._connection.ask(
            "POST", "/v1/recalibrate", json.dumps(asked), once=PROPOSED
        )
        return proposal

    def apply(self, proposal: str, *, force: bool = False) -> Mapping[str, Any]:
        """Put a proposal in place, by its id. `force`: although it is refused."""
        path = f"/v1/recalibrate/{quote(proposal, safe='')}/apply"
        done: Mapping[str, Any] = self._connection.ask("POST", path, json.dumps({"force": force}))
        return done

    def revert(self, proposal: str) -> Mapping[str, Any]:
        """Put back what a proposal has replaced."""
        path = f"/v1/recalibrate/{quote(proposal, safe='')}/revert"
        done: Mapping[str, Any] = self._connection.ask("POST", path)
        return done

    def recalibrations(self) -> list[Mapping[str, Any]]:
        """Fetch the last proposals, newest first."""
        found: list[Mapping[str, Any]] = self._connection.ask("GET", "/v1/recalibrate")[
            "proposals"
        ]
        return found

    def incidents(self, most: int = 1_000, **asked: Any) -> list[Mapping[str, Any]]:
        """Fetch incidents, newest first, at most so many.

        Args:
            asked: the parameters of `GET /v1/incidents`: since, until, state, group, column,
                label, muted, chance.
        """
        return self._pages("/v1/incidents", "incidents", most, asked)

    def incident(self, id: str) -> Mapping[str, Any]:
        """Fetch one incident, also by an id that it had before."""
        found: Mapping[str, Any] = self._connection.ask(
            "GET", f"/v1/incidents/{quote(id, safe='')}"
        )
        return found

    def mark(self, label: str, **said: Any) -> Mapping[str, Any]:
        """Say what an incident or a record was, with a key that may; returns once it is kept.

        It is kept once, however often it takes to send it.

        Args:
            label: `confirmed`, `false_alarm`, `expected` (then it takes `until`) or `withdrawn`.
            said: the other members of the body of `POST /v1/feedback`: incident, record, reason,
                until, id.

        Raises:
            ServiceError: the service refused, or could not be reached.
        """
        body = json.dumps({"id": uuid4().hex, "label": label, **said})
        kept: Mapping[str, Any] = self._connection.ask("POST", "/v1/feedback", body)
        return kept

    def feedback(self, most: int = 1_000, **asked: Any) -> list[Mapping[str, Any]]:
        """Fetch what was said, the oldest first, at most so many.

        Args:
            asked: the parameters of `GET /v1/feedback`: since, label, incident.
        """
        return self._pages("/v1/feedback", "marks", most, asked)

    def feedback_summary(self, **asked: Any) -> Mapping[str, Any]:
        """Count what was said of incidents: in all, by column, group and week.

        Args:
            asked: the parameter of `GET /v1/feedback/summary`: since.
        """
        path = _path("/v1/feedback/summary", asked)
        found: Mapping[str, Any] = self._connection.ask("GET", path)
        return found

    def _pages(
        self, path: str, name: str, most: int, asked: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        found, cursor = list[Mapping[str, Any]](), None
        while len(found) < most:
            limit = min(most - len(found), MOST_OF_PAGE)
            page = self._connection.ask(
                "GET", _path(path, {**asked, "cursor": cursor, "limit": limit})
            )
            found += page[name]
            cursor = page["next"]
            if cursor is None:
                break
        return found

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


def _path(path: str, asked: Mapping[str, Any]) -> str:
    """Return a path with the parameters that are given."""
    given = {name: _text(value) for name, value in asked.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _text(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value
