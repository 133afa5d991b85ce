"""Model -> answers: which model scores, which one shadows it, and whether to send requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vaewatch.service.http.problems import NotReady
from vaewatch.service.model.model import Model
from vaewatch.service.model.shadow import Shadow


@dataclass
class Registry:
    """One process's models. `path` is where the next reload looks."""

    path: Path
    model: Model | None = None
    shadow: Shadow | None = None
    draining: bool = False

    @property
    def active(self) -> Model:
        """The model that answers, or NotReady."""
        if self.model is None:
            raise NotReady("the service is starting: no artifact is loaded yet.")
        return self.model

    @property
    def ready(self) -> bool:
        return self.model is not None and not self.draining
