"""Alertmanager's webhook -> a line for each alert: the demo's pager and ticket tracker.

    python deploy/pager.py 9000

A person watches it with `docker compose logs -f pager`; in earnest, alertmanager.yml names what
really wakes somebody. Standard library only.
"""

from __future__ import annotations

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

MOST_BYTES = 1 << 20


class Pager(BaseHTTPRequestHandler):
    """POST /page and POST /ticket."""

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        if size > MOST_BYTES:
            return self.send_error(413)
        try:
            alerts = json.loads(self.rfile.read(size))["alerts"]
        except (ValueError, KeyError, TypeError):
            return self.send_error(400, "Alertmanager's JSON with a member 'alerts' is expected")
        for alert in alerts:
            print(line(self.path.strip("/"), alert), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence the access log: one line an alert is enough."""


def line(kind: str, alert: dict[str, Any]) -> str:
    name, notes = alert["labels"]["alertname"], alert["annotations"]
    return f"{kind} {alert['status']} {name}: {notes.get('summary')} {notes.get('runbook_url')}"


def main() -> None:
    server = HTTPServer(("0.0.0.0", int(sys.argv[1])), Pager)
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=server.shutdown).start())
    server.serve_forever()


if __name__ == "__main__":
    main()
