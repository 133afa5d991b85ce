"""Histories in the memory of one process: each record is posted once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from vaewatch.scoring.series.history import History
from vaewatch.scoring.series.kept import KeptError, pack_history, unpack_history
from vaewatch.scoring.series.lasting import Lasting
from vaewatch.scoring.table import Table
from vaewatch.service.model.model import Model
from vaewatch.service.model.registry import Registry
from vaewatch.service.series.histories import (
    Answered,
    Judging,
    Ledger,
    Seen,
    judged,
    latest_of,
    window_of,
)

log = logging.getLogger("vaewatch.service")

Snapshot = tuple[History, str]  # a copy of histories, and what they belong to
OVERHEAD = 1024  # bytes of an entity beside its records: its name, and Python's own
ALARM = 16  # bytes of a moment and a score


@dataclass
class Memory:
    """The histories of at most `most` entities; the least recently seen one leaves first.

    ahead: seconds that a record's time may be ahead of the clock; None: any.

    They belong to the features of the artifact that answers. Records of a request that began under
    another one are judged by themselves.
    """

    registry: Registry
    most: int
    ahead: float | None = None
    waits: bool = field(default=False, init=False)
    _key: str | None = None
    _history: History | None = None

    def answer(
        self, model: Model, options: Judging, table: Table, sizes: Sequence[int]
    ) -> Answered:
        forgotten = self._follow(model) if model is self.registry.model else 0
        window, kept = window_of(model), self._history
        mine = kept is not None and self._key == model.history_key
        pasts = kept.pasts if kept is not None and mine else OrderedDict()
        ledger = Ledger(window, self.most, pasts, latest=latest_of(self.ahead))
        if kept is not None and mine:
            ledger.lasting = kept.lasting
        verdicts, ledger = judged(model, options, table, ledger)
        seen = Seen(self.held, ledger.gaps, ledger.evicted, forgotten)
        return Answered(table, verdicts, seen)

    @property
    def held(self) -> int:
        return 0 if self._history is None else len(self._history)

    def _follow(self, model: Model) -> int:
        """Begin anew where the artifact that answers has other features; returns how many entities
        are forgotten.
        """
        if self._key == model.history_key:
            return 0
        forgotten = self.held
        self._key, self._history = model.history_key, History(window_of(model), self.most)
        if forgotten:
            log.warning(
                "the histories of %s entities are forgotten: version %s has other features. They "
                "warm up again.",
                f"{forgotten:,}",
                model.name.version,
            )
        return forgotten

    def snapshot(self) -> Snapshot | None:
        """Return a copy of the histories and their key; None if there are none. Call it where no
        batch is being judged; what it returns does not change.
        """
        if self._history is None or self._key is None:
            return None
        return self._history.copy(), self._key

    def restore(self, model: Model, content: bytes) -> int:
        """Take what `packed` has made of a snapshot; returns the number of entities.

        Raises:
            KeptError: it is that of an artifact with other features, or no history.
        """
        if model.window is None:
            raise KeptError("a history must be that of an artifact with a window")
        empty = History(model.window, self.most)
        self._history = unpack_history(content, model.history_key, empty, *widths_of(model))
        self._key = model.history_key
        return self.held


def packed(snapshot: Snapshot) -> bytes:
    """Return a snapshot as a file holds it."""
    return pack_history(*snapshot)


def widths_of(model: Model) -> tuple[int, int]:
    """Return how many numbers and how many columns a record has in a history."""
    vectorizer = model.scorer.artifact.vectorizer
    width = window_of(model).width(len(vectorizer.features))
    return width, len(vectorizer.schema.names)


def most_bytes(model: Model, entities: int) -> int:
    """Return about how many bytes the histories of so many entities take."""
    width, columns = widths_of(model)
    window = window_of(model)
    records = (window.size - 1) * (4 * width + columns)
    return entities * (records + ALARM * Lasting(window).compared + OVERHEAD)
