"""settings -> a running service: one process, or a parent and its workers."""

from __future__ import annotations

import logging
import os
import socket
import threading
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from time import monotonic

from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.intake.deadline import LOAD
from vaewatch.service.app import Application
from vaewatch.service.http.auth import Keys
from vaewatch.service.http.limits import with_files_enough
from vaewatch.service.http.listening import announce, listen
from vaewatch.service.http.server import server_of
from vaewatch.service.http.wire.protocol import missing_of_uvicorn
from vaewatch.service.http.workers import Parent, hold, shared_folder
from vaewatch.service.model.model import load_model
from vaewatch.service.model.shared import remember
from vaewatch.service.notify.receiver import require_receivers
from vaewatch.service.series.choice import check_history
from vaewatch.service.settings import Settings
from vaewatch.service.signals import end_with_parent
from vaewatch.service.store.check import check_store
from vaewatch.service.watch.logs import set_up
from vaewatch.service.watch.metrics import ONE_BY_ONE
from vaewatch.service.watch.stderr import lines

log = logging.getLogger("vaewatch.service")

LOAD_PATIENCE = 2.0  # seconds for the loads that are under way at the end


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    require_other_shadow(settings)
    check_history(settings)
    require_receivers(settings)
    check_store(settings)
    set_up(settings.log_level)
    settings = with_files_enough(settings)
    warn_of_missing_names()
    if settings.workers > 1:
        Keys(settings)  # refuse bad keys and a bad artifact before it listens
        model = load_model(settings.artifact, settings)
        with shared_folder() as folder:
            remember(folder, model)
            Parent(replace(settings, workers_folder=folder), work).run()
        return
    application = Application.of(settings)  # with its artifact loaded and verified
    server = server_of(application.edge, application.asgi, settings)
    listener = listen(settings)
    announce(listener.address)
    server.run_on(listener)
    leave_loads_behind()


def require_other_shadow(settings: Settings) -> None:
    """Refuse a shadow that is the artifact itself: it could only ever agree."""
    shadow = settings.shadow
    if shadow is not None and shadow.resolve() == settings.artifact.resolve():
        raise SettingError(f"--shadow must be an artifact other than '{settings.artifact}'.")


def work(settings: Settings, sock: socket.socket, ready: Connection) -> None:
    """Serve as one of several workers, until SIGTERM or the end of their parent."""
    end_with_parent()
    assert settings.workers_folder is not None
    hold(settings.workers_folder)  # to the end of this process, which may outlive its parent
    set_up(settings.log_level)
    application = Application.of(settings)
    report = partial(ready.send_bytes, b"ready")
    server_of(application.edge, application.asgi, settings, report).run([sock])
    leave_loads_behind()


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


def warn_of_missing_names() -> None:
    """Say once in the log which packages are too new for the service's faster ways."""
    for package, missing, instead in (
        ("uvicorn", missing_of_uvicorn(), "its own protocol serves, more slowly"),
        ("prometheus-client", ONE_BY_ONE, "values are counted one by one, more slowly"),
    ):
        if missing:
            log.warning("this %s has no %s: %s", package, ", ".join(missing), instead)
