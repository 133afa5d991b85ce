"""settings -> a running service: one process, or a parent and its workers."""

from __future__ import annotations

import logging
from dataclasses import replace

from vaewatch.scoring.errors import SettingError
from vaewatch.service.http.auth import Keys
from vaewatch.service.http.limits import with_files_enough
from vaewatch.service.http.wire.protocol import missing_of_uvicorn
from vaewatch.service.http.workers import Parent, shared_folder
from vaewatch.service.model.model import load_model
from vaewatch.service.model.shared import remember
from vaewatch.service.notify.receiver import require_receivers
from vaewatch.service.series.choice import check_history
from vaewatch.service.settings import Settings
from vaewatch.service.store.check import check_store
from vaewatch.service.watch.families.files import AS_THEY_COME
from vaewatch.service.watch.logs import set_up
from vaewatch.service.watch.metrics import ONE_BY_ONE
from vaewatch.service.worker import work, work_alone

log = logging.getLogger("vaewatch.service")


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
    work_alone(settings)


def require_other_shadow(settings: Settings) -> None:
    """Refuse a shadow that is the artifact itself: it could only ever agree."""
    shadow = settings.shadow
    if shadow is not None and shadow.resolve() == settings.artifact.resolve():
        raise SettingError(f"--shadow must be an artifact other than '{settings.artifact}'.")


def warn_of_missing_names() -> None:
    """Say once in the log which packages are too new for the service's own ways."""
    for package, missing, instead in (
        ("uvicorn", missing_of_uvicorn(), "its own protocol serves, more slowly"),
        ("prometheus-client", ONE_BY_ONE, "values are counted one by one, more slowly"),
        ("prometheus-client", AS_THEY_COME, "a full temporary folder can end workers"),
    ):
        if missing:
            log.warning("this %s has no %s: %s", package, ", ".join(missing), instead)
