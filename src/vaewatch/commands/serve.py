"""`vaewatch serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vaewatch.commands.options import config_file, setting
from vaewatch.commands.parameters import SecretOption
from vaewatch.scoring.imports import without_garbage
from vaewatch.service.settings import Settings
from vaewatch.threads import products_on_one_thread

COUNT = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path)


def limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that bound what the service holds and waits for."""
    for option in (
        setting(
            "--max-body-bytes",
            type=COUNT,
            default=Settings.max_body_bytes,
            help="Most bytes of one body, before and after gzip.",
        ),
        setting(
            "--max-pending-bytes",
            type=COUNT,
            default=Settings.max_pending_bytes,
            help="Most bytes of all bodies held at one time, in each worker.",
        ),
        setting(
            "--max-records",
            type=COUNT,
            default=Settings.max_records,
            help="Most records of one request.",
        ),
        setting(
            "--max-in-flight",
            type=COUNT,
            default=Settings.max_in_flight,
            help="Most requests being scored at one time, in each worker.",
        ),
        setting(
            "--max-connections",
            type=COUNT,
            default=Settings.max_connections,
            help="Most open connections, in each worker.",
        ),
        setting(
            "--body-timeout",
            type=SECONDS,
            default=Settings.body_timeout,
            help="Seconds in which a head, and then its body, must arrive.",
        ),
        setting(
            "--drain-seconds",
            type=SECONDS,
            default=Settings.drain_seconds,
            help="On shutdown: seconds between reporting not ready and closing the socket.",
        ),
        setting(
            "--stop-seconds",
            type=SECONDS,
            default=Settings.stop_seconds,
            help="On shutdown: seconds allowed to answer the last requests.",
        ),
    )[::-1]:
        command = option(command)
    return command


def histories(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of what the records of an artifact with a window are judged with."""
    for option in (
        setting(
            "--history",
            metavar="memory|stateless|redis://HOST",
            help="Where the records before a record come from, for an artifact with a window: "
            "memory (each record is posted once), the request (stateless), or a Redis that "
            "workers share.  [default: memory with one worker, stateless with several]",
        ),
        setting(
            "--history-file",
            type=FILE,
            help="With --history memory: file that keeps it, written each minute and at the end.",
        ),
        setting(
            "--max-entities",
            type=COUNT,
            default=Settings.max_entities,
            help="Most entities with a history; the least recently seen one leaves first.",
        ),
        setting(
            "--history-ttl",
            type=COUNT,
            default=Settings.history_ttl,
            help="Seconds that Redis keeps an entity's history after its last record.",
        ),
        setting(
            "--history-away",
            type=click.Choice(["refuse", "warm-up"]),
            default=Settings.history_away,
            help="While Redis is away: refuse records (503), or judge each request by itself.",
        ),
        setting(
            "--history-ahead",
            type=SECONDS,
            help="Set aside a record that is more than this many seconds ahead of this "
            "machine's clock; it would make its entity's records late until then.  [default: off]",
        ),
    )[::-1]:
        command = option(command)
    return command


def incidents(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of incidents and feedback: where they are kept, and what makes one."""
    for option in (
        setting(
            "--store",
            cls=SecretOption,
            metavar="URL",
            help="Where incidents and feedback are kept: sqlite:///FILE, or "
            "postgresql://USER@HOST/DATABASE for several replicas.  [default: they are gone when "
            "the service stops]",
        ),
        setting(
            "--merge-gap",
            metavar="SPAN",
            help="Longest pause between alarms of one incident.  [default: 5m, or the length of a "
            "window]",
        ),
        setting(
            "--notify-chance",
            type=click.FloatRange(0, 1),
            default=Settings.notify_chance,
            help="Incidents that chance alone brings less often than this are rare.",
        ),
        setting(
            "--keep-incidents",
            type=COUNT,
            default=Settings.keep_incidents,
            metavar="DAYS",
            help="How long incidents without feedback are kept.",
        ),
    )[::-1]:
        command = option(command)
    return command


def notifications(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of who is told of incidents, and what."""
    for option in (
        setting(
            "--notify",
            cls=SecretOption,
            metavar="URL",
            multiple=True,
            help="Tell this address of rare incidents: a webhook, signed with "
            "VAEWATCH_NOTIFY_SECRET, Slack or Alertmanager; repeat for more.",
        ),
        setting(
            "--notify-format",
            type=click.Choice(["webhook", "slack", "alertmanager"]),
            multiple=True,
            help="Format for all, or for each --notify in turn.  [default: by the URL]",
        ),
        setting(
            "--notify-link",
            metavar="URL",
            help="Address of the console, for links in notifications.",
        ),
        setting(
            "--notify-records/--no-notify-records",
            default=Settings.notify_records,
            help="Include ids of records in notifications.",
        ),
    )[::-1]:
        command = option(command)
    return command


def safety(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of keys, TLS and the console: who may see and do what."""
    for option in (
        setting(
            "--keys-file",
            type=FILE,
            help="File of hashed keys: lines of 'score|feedback|admin SHA256 [NAME]'.",
        ),
        setting(
            "--metrics-key/--no-metrics-key",
            default=Settings.metrics_key,
            help="Ask for a key at /metrics too.",
        ),
        setting(
            "--console/--no-console",
            default=Settings.console,
            help="Serve a page for people at /.",
        ),
        setting(
            "--console-values/--no-console-values",
            default=Settings.console_values,
            help="Let the console show the values of records that alarmed.",
        ),
        setting("--insecure", is_flag=True, help="Serve beyond this machine without a key."),
        setting("--tls-cert", type=FILE, help="PEM file of the certificate."),
        setting("--tls-key", type=FILE, help="PEM file of its key, without a password."),
    )[::-1]:
        command = option(command)
    return command


@click.command(epilog="Example:  vaewatch serve artifact --port 8000 --workers 2 --watch 10")
@click.argument("artifact", type=FOLDER)
@config_file()
@setting("--host", default=Settings.host, help="Address to listen on.")
@setting(
    "--port",
    type=click.IntRange(0, 65535),
    default=Settings.port,
    help="Port to listen on; 0: a free one.",
)
@setting("--uds", type=click.Path(path_type=Path), help="Unix socket instead of host and port.")
@setting("--workers", type=COUNT, default=Settings.workers, help="Processes that score.")
@setting(
    "--threads",
    type=COUNT,
    default=Settings.threads,
    help="Threads of the network, in each worker.",
)
@setting(
    "--shadow",
    type=FOLDER,
    help="Artifact that scores the same records; only metrics show its verdicts.",
)
@setting(
    "--watch",
    type=SECONDS,
    default=Settings.watch,
    help="Seconds between checks for a new artifact; 0: never.",
)
@histories
@incidents
@notifications
@limits
@safety
@setting(
    "--access-log/--no-access-log",
    default=Settings.access_log,
    help="Log each request as a JSON line; polls and probes at debug level.",
)
@setting(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=Settings.log_level,
)
@setting("--otel", is_flag=True, help="Send OpenTelemetry traces; needs the [otel] extra.")
def serve(artifact: Path, **settings: Any) -> None:
    """Score records over HTTP: POST them to /v1/score; /docs lists every route.

    Set a key for all routes as VAEWATCH_KEY, or put it in a file and name that in
    VAEWATCH_KEY_FILE.
    """
    products_on_one_thread()
    from vaewatch.service.watch.stderr import open_streams

    open_streams()
    with without_garbage():
        from vaewatch.service.http.auth import (
            key_of_environment,
            require_safe_address,
            require_tls_files,
        )
        from vaewatch.service.serve import serve as run

    chosen = Settings(artifact=artifact, key=key_of_environment(), **settings)
    require_safe_address(chosen)
    require_tls_files(chosen)
    run(chosen)
