"""`vaewatch serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from scoring.command import config_file, setting
from service.settings import Settings

COUNT = click.IntRange(min=1)
SECONDS = click.FloatRange(min=0)


@click.command(epilog="Example:  vaewatch serve artifact --port 8000")
@click.argument("artifact", type=click.Path(path_type=Path))
@config_file()
@setting("--host", default=Settings.host, help="Address to listen on.")
@setting("--port", type=click.IntRange(0, 65535), default=Settings.port, help="0: a free one.")
@setting("--max-body-bytes", type=COUNT, default=Settings.max_body_bytes, help="Of one body.")
@setting(
    "--max-pending-bytes",
    type=COUNT,
    default=Settings.max_pending_bytes,
    help="Of all bodies held at one time.",
)
@setting("--max-records", type=COUNT, default=Settings.max_records, help="Of one request.")
@setting(
    "--max-in-flight", type=COUNT, default=Settings.max_in_flight, help="Requests scored at once."
)
@setting(
    "--body-timeout", type=SECONDS, default=Settings.body_timeout, help="Seconds to send a body."
)
@setting("--threads", type=COUNT, default=Settings.threads, help="Of the network, a process.")
def serve(artifact: Path, **settings: Any) -> None:
    """Score records over HTTP: POST them to /v1/score; /docs tells the rest."""
    from service.logs import set_up
    from service.server import serve as run

    chosen = Settings(artifact=artifact, **settings)
    set_up(chosen.log_level)
    run(chosen)
