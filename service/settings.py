"""command line, environment, file -> Settings: every choice of a running service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


@dataclass(frozen=True)
class Settings:
    """What `vaewatch serve` was asked for; it travels to the workers as it is."""

    artifact: Path
    host: str = "127.0.0.1"
    port: int = 8000
    max_body_bytes: int = 16 * MIB  # of one body, after gzip
    max_pending_bytes: int = 64 * MIB  # of all bodies held at one time
    max_records: int = 10_000  # of one request
    max_in_flight: int = 256  # requests being scored
    body_timeout: float = 10.0  # seconds to send a body
    drain_seconds: float = 0.0  # between "not ready" and the end of listening
    threads: int = 1
    log_level: str = "info"
