"""The client, where an answer is lost after the service has judged its records."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.live import serving
from tests.pumps import Records
from vaewatch.scoring.scorer import Scorer
from vaewatch.service.client import Client, ServiceError


@contextmanager
def losing_the_first_answer(url: str) -> Iterator[str]:
    """Pass requests on to a service, and all answers but the first one back."""
    lost: list[bytes] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            service = http.client.HTTPConnection(urlsplit(url).netloc)
            body = self.rfile.read(int(self.headers["content-length"]))
            service.request("POST", self.path, body, {"content-type": "application/json"})
            answer = service.getresponse()
            content = answer.read()
            service.close()
            if not lost:
                lost.append(content)
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_verdicts_that_are_lost_are_not_taken_for_no_alarms(series_path: Path, records: Records):
    with serving(series_path) as live, losing_the_first_answer(live.url) as url:
        text = f"the answer of records 0 to {len(records) - 1} was lost .* repeated"
        with Client(url) as client, pytest.raises(ServiceError, match=text):
            client.score(records)


def test_a_stateless_service_judges_what_is_sent_again(
    series_path: Path, series_scorer: Scorer, records: Records
):
    with serving(series_path, "--history", "stateless") as live:
        with losing_the_first_answer(live.url) as url, Client(url) as client:
            found = client.score(records)
    assert [each.history for each in found] == list(series_scorer.score(records).history)
