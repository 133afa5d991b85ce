"""Proposals and the scores that they calibrate on, shared by all workers, the last ones only.

They are gone when the service stops. What was applied stays, as an artifact.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from vaewatch.service.http.problems import NotFound
from vaewatch.service.model.errors import Conflict
from vaewatch.service.recalibrate.calibrating import Calibrating
from vaewatch.service.recalibrate.proposal import Proposal

FOLDER = "recalibrations"
MOST_PROPOSALS = 20
ID = re.compile(r"[0-9a-f]{12}")


@dataclass
class Store:
    """The proposals of a service. folder: what workers share; None if there is one process."""

    folder: Path | None = None
    _here: dict[str, bytes] = field(default_factory=dict)

    def put(self, proposal: Proposal) -> None:
        """Keep a proposal, or what has become of it.

        Raises:
            Conflict: the folder cannot be written; what was kept still is.
        """
        self._write(proposal.id, msgspec.msgpack.encode(proposal))
        for old in self.all()[MOST_PROPOSALS:]:
            for name in (old.id, _scores_of(old)):
                self._drop(name)

    def put_scores(self, proposal: Proposal, scores: Calibrating) -> None:
        """Keep the scores that a proposal calibrates on."""
        self._write(_scores_of(proposal), msgspec.msgpack.encode(scores))

    def get(self, name: str) -> Proposal:
        """Return a proposal by its id.

        Raises:
            NotFound: there is none.
        """
        content = self._read(name) if ID.fullmatch(name) else None
        if content is None:
            raise NotFound(
                "there is no proposal of this id; GET /v1/recalibrate lists those that there are."
            )
        return msgspec.msgpack.decode(content, type=Proposal)

    def scores(self, proposal: Proposal) -> Calibrating:
        """Return the scores that a proposal calibrates on.

        Raises:
            NotFound: newer proposals have taken their place.
        """
        content = self._read(_scores_of(proposal))
        if content is None:
            raise NotFound("the proposal is no longer kept. Propose again.")
        return msgspec.msgpack.decode(content, type=Calibrating)

    def all(self) -> list[Proposal]:
        """Return all proposals, newest first."""
        names = list(self._here)
        if self.folder is not None:
            names = [path.name for path in (self.folder / FOLDER).glob("[0-9a-f]*")]
        contents = [self._read(name) for name in names if ID.fullmatch(name)]
        found = [msgspec.msgpack.decode(c, type=Proposal) for c in contents if c is not None]
        return sorted(found, key=lambda proposal: proposal.created_at, reverse=True)

    def _write(self, name: str, content: bytes) -> None:
        if self.folder is None:
            self._here[name] = content
            return
        path = self.folder / FOLDER / name
        draft = path.with_name(f".{name}-{os.getpid()}")
        try:
            path.parent.mkdir(exist_ok=True)
            draft.write_bytes(content)
            draft.rename(path)
        except OSError as error:
            raise Conflict(
                f"'{self.folder}' must take the proposal, but cannot be written: "
                f"{error.strerror}. Make room there, and try again."
            ) from error

    def _read(self, name: str) -> bytes | None:
        if self.folder is None:
            return self._here.get(name)
        try:
            return (self.folder / FOLDER / name).read_bytes()
        except FileNotFoundError:
            return None

    def _drop(self, name: str) -> None:
        if self.folder is None:
            self._here.pop(name, None)
        else:
            (self.folder / FOLDER / name).unlink(missing_ok=True)


def _scores_of(proposal: Proposal) -> str:
    return f"{proposal.id}.scores"
