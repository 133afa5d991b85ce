"""The models of one process: the one that answers, the one that shadows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import time

from vaewatch.service.model.errors import NotReady
from vaewatch.service.model.loads import Load, Loads
from vaewatch.service.model.model import Model


@dataclass
class Registry:
    """Which models a process holds, and whether it is ready for requests.

    path: where the next reload looks.
    model: answers; None until the first one is loaded.
    shadow: scores the same records, and only metrics show what it found.
    draining: the process is about to stop.
    away: what keeps the histories of entities does not answer, and records are refused.
    loads: which models have answered.
    """

    path: Path
    model: Model | None = None
    shadow: Model | None = None
    draining: bool = False
    away: bool = False
    loads: Loads = field(default_factory=Loads)

    def put(self, model: Model, *, promoted: bool = False) -> None:
        """Let a model answer from now on."""
        before = None if self.model is None else self.model.name.version
        self.model = model
        self.loads.note(Load(time(), model.name.version, before, promoted))

    @property
    def active(self) -> Model:
        """The model that answers.

        Raises:
            NotReady: none is loaded yet.
        """
        if self.model is None:
            raise NotReady("the service is starting: no artifact is loaded yet.")
        return self.model

    @property
    def ready(self) -> bool:
        return self.model is not None and not self.draining and not self.away
