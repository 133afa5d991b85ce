"""settings and a socket -> one of several workers, or the only one, to its end.

What a worker runs on is imported here when it is its turn: the parent of several has no use for
most of it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from time import monotonic
from typing import TYPE_CHECKING

from vaewatch.scoring.imports import without_garbage
from vaewatch.scoring.intake.deadline import LOAD
from vaewatch.service.http.listening import announce, listen
from vaewatch.service.settings import Settings
from vaewatch.service.signals import end_with_parent
from vaewatch.service.watch.logs import set_up
from vaewatch.service.watch.stderr import lines

if TYPE_CHECKING:
    from vaewatch.service.http.server import DrainingServer

LOAD_PATIENCE = 2.0  # seconds for the loads that are under way at the end


def work(settings: Settings, sock: socket.socket, ready: Connection) -> None:
    """Serve as one of several workers, until SIGTERM or the end of their parent."""
    end_with_parent()
    server = _server(settings, partial(ready.send_bytes, b"ready"))
    server.run([sock])
    leave_loads_behind()


def work_alone(settings: Settings) -> None:
    """Serve as the only worker, until SIGTERM or Ctrl-C."""
    server = _server(settings)
    listener = listen(settings)
    announce(listener.address)
    server.run_on(listener)
    leave_loads_behind()


def _server(settings: Settings, ready: Callable[[], None] | None = None) -> DrainingServer:
    """Make the server of a worker, with its artifact loaded and verified."""
    with without_garbage():
        from vaewatch.service.app import Application
        from vaewatch.service.http.server import server_of
        from vaewatch.service.http.workers import hold

    if settings.workers_folder is not None:
        hold(settings.workers_folder)  # to the end of this process, which may outlive its parent
    set_up(settings.log_level)
    application = Application.of(settings)
    return server_of(application.edge, application.asgi, settings, ready)


def leave_loads_behind() -> None:
    """End the process where a load has not ended soon: Python would take away under it what it
    still runs on, which ends as a crash.
    """
    until = monotonic() + LOAD_PATIENCE
    for thread in threading.enumerate():
        if thread.name == LOAD:
            thread.join(max(0.0, until - monotonic()))
            if thread.is_alive():
                lines.finish()
                os._exit(0)
