"""`vaewatch serve`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from vaewatch.commands.options import config_file, setting
from vaewatch.commands.threads import products_on_one_thread
from vaewatch.service.settings import Settings

COUNT = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path)


def limits(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that bound what the service holds and waits for."""
    for option in (
        setting("--max-body-bytes", type=COUNT, default=Settings.max_body_bytes, help="One body."),
        setting(
            "--max-pending-bytes",
            type=COUNT,
            default=Settings.max_pending_bytes,
            help="All bodies held at one time, in each worker.",
        ),
        setting("--max-records", type=COUNT, default=Settings.max_records, help="One request."),
        setting(
            "--max-in-flight",
            type=COUNT,
            default=Settings.max_in_flight,
            help="Requests being scored, in each worker.",
        ),
        setting(
            "--max-connections",
            type=COUNT,
            default=Settings.max_connections,
            help="Open connections, in each worker.",
        ),
        setting(
            "--body-timeout",
            type=SECONDS,
            default=Settings.body_timeout,
            help="Seconds to send a body.",
        ),
        setting(
            "--drain-seconds",
            type=SECONDS,
            default=Settings.drain_seconds,
            help="Not ready before it stops listening.",
        ),
        setting(
            "--stop-seconds",
            type=SECONDS,
            default=Settings.stop_seconds,
            help="To finish what is in flight.",
        ),
    )[::-1]:
        command = option(command)
    return command


def safety(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say who may do what."""
    for option in (
        setting("--keys-file", type=FILE, help="Hashed keys: lines of 'score|admin SHA256'."),
        setting(
            "--metrics-key/--no-metrics-key",
            default=Settings.metrics_key,
            help="Ask for a key at /metrics too.",
        ),
        setting(
            "--console/--no-console", default=Settings.console, help="The page for people at /."
        ),
        setting(
            "--console-values/--no-console-values",
            default=Settings.console_values,
            help="Let it show what the records of alarms held.",
        ),
        setting("--insecure", is_flag=True, help="Serve beyond this machine without a key."),
        setting("--tls-cert", type=FILE, help="PEM file."),
        setting("--tls-key", type=FILE, help="PEM file."),
    )[::-1]:
        command = option(command)
    return command


@click.command(epilog="Example:  vaewatch serve artifact --port 8000 --workers 2 --watch 10")
@click.argument("artifact", type=FOLDER)
@config_file()
@setting("--host", default=Settings.host, help="Address to listen on.")
@setting("--port", type=click.IntRange(0, 65535), default=Settings.port, help="0: a free one.")
@setting("--uds", type=click.Path(path_type=Path), help="Unix socket instead of host and port.")
@setting("--workers", type=COUNT, default=Settings.workers, help="Processes that score.")
@setting("--threads", type=COUNT, default=Settings.threads, help="Of the network, in each worker.")
@setting("--shadow", type=FOLDER, help="A second artifact; scores along, only metrics tell of it.")
@setting(
    "--watch", type=SECONDS, default=Settings.watch, help="Look for a new artifact; 0: never."
)
@limits
@safety
@setting(
    "--access-log/--no-access-log",
    default=Settings.access_log,
    help="A JSON line a request; of polls and probes at debug level.",
)
@setting(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default=Settings.log_level,
)
@setting("--otel", is_flag=True, help="Traces by OpenTelemetry; needs the [otel] extra.")
def serve(artifact: Path, **settings: Any) -> None:
    """Score records over HTTP: POST them to /v1/score; /docs tells the rest.

    A key that is valid for everything can be set as VAEWATCH_KEY, or in the file that
    VAEWATCH_KEY_FILE names.
    """
    products_on_one_thread()
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
