"""The settings of a service, from the command line, the environment or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaewatch.scoring.incidents.chance import RARE

MIB = 1 << 20
MEMORY, STATELESS, REDIS = "memory", "stateless", "redis"  # where histories are kept
SCHEMES = ("redis://", "rediss://")


@dataclass(frozen=True)
class Settings:
    """The settings of one service; each worker gets a copy."""

    artifact: Path
    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None
    workers: int = 1
    threads: int = 1  # of the network, in each worker
    shadow: Path | None = None
    watch: float = 0.0  # seconds between checks of the artifact's path; 0: never
    history: str | None = None  # of entities: memory, stateless, redis://HOST; None: by workers
    history_file: Path | None = None  # keeps those of the memory
    max_entities: int = 10_000
    history_ttl: int = 86_400  # seconds that Redis keeps an entity after its last record
    history_away: str = "refuse"  # or warm-up: what happens while Redis is away
    history_ahead: float | None = None  # seconds that a record may be ahead of the clock
    store: str | None = None  # of incidents and feedback; None: gone with the service
    merge_gap: str | None = None  # so far apart are alarms of one incident; None: by the artifact
    notify_chance: float = RARE  # incidents that chance brings less often than this are news
    notify: tuple[str, ...] = ()  # URLs that are told of rare incidents
    notify_format: tuple[str, ...] = ()  # one for all or one for each; none: by the URL
    notify_link: str | None = None  # the address of the console, which notifications link to
    notify_records: bool = False  # notifications may have ids of records
    keep_incidents: int = 90  # days, of those without feedback
    max_body_bytes: int = 16 * MIB  # of one body, before and after gzip
    max_pending_bytes: int = 64 * MIB  # of all bodies held at one time
    max_records: int = 10_000  # of one request
    max_in_flight: int = 256  # requests being scored
    max_connections: int = 4096
    body_timeout: float = 10.0  # seconds to send a head, and again for its body
    drain_seconds: float = 1.0  # between "not ready" and the end of listening
    stop_seconds: float = 30.0  # to answer the last requests
    key: str | None = None  # in the clear, from the environment; of admin scope
    keys_file: Path | None = None
    insecure: bool = False
    metrics_key: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    console: bool = True  # the page at /
    console_values: bool = False  # it may show the values of records that alarmed
    access_log: bool = True
    log_level: str = "info"
    otel: bool = False
    workers_folder: Path | None = None  # what workers share; made by their parent

    @property
    def history_mode(self) -> str:
        """Where the records before a record are: MEMORY, STATELESS or REDIS."""
        if self.history is None:
            return MEMORY if self.workers == 1 else STATELESS
        return REDIS if self.history.startswith(SCHEMES) else self.history
