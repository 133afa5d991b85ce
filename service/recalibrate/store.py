"""Proposals and the scores that they calibrate on, shared by all workers, the last ones only.

They are gone when the service stops. What was applied stays, as an artifact.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vaewatch.service.http.problems import NotFound
from vaewatch.service.recalibrate.proposal import Proposal

FOLDER = "recalibrations"
MOST_PROPOSALS = 20
ID = re.compile(r"[0-9a-f]{12}")


class Kept(msgspec.Struct):
    """A proposal, and the (n,) float64 scores of the new calibration, ascending, as bytes."""

    proposal: Proposal
    scores: bytes

    @classmethod
    def of(cls, proposal: Proposal, scores: NDArray[np.float64]) -> Kept:
        return cls(proposal, scores.tobytes())

    def calibrating(self) -> NDArray[np.float64]:
        """Return the scores of the new calibration."""
        return np.frombuffer(self.scores, np.float64)


@dataclass
class Store:
    """The proposals of a service. folder: what workers share; None if there is one process."""

    folder: Path | None = None
    _here: dict[str, bytes] = field(default_factory=dict)

    def put(self, kept: Kept) -> None:
        """Keep a proposal, or what has become of it."""
        content, name = msgspec.msgpack.encode(kept), kept.proposal.id
        if self.folder is None:
            self._here[name] = content
        else:
            path = self.folder / FOLDER / name
            path.parent.mkdir(exist_ok=True)
            draft = path.with_name(f".{name}-{os.getpid()}")
            draft.write_bytes(content)
            draft.rename(path)
        for old in self.all()[MOST_PROPOSALS:]:
            self._drop(old.proposal.id)

    def _drop(self, name: str) -> None:
        if self.folder is None:
            self._here.pop(name, None)
        else:
            (self.folder / FOLDER / name).unlink(missing_ok=True)

    def get(self, name: str) -> Kept:
        """Return a proposal.

        Raises:
            NotFound: there is none of this id.
        """
        content = self._read(name) if ID.fullmatch(name) else None
        if content is None:
            raise NotFound(
                "there is no proposal of this id; GET /v1/recalibrate lists those that there are."
            )
        return msgspec.msgpack.decode(content, type=Kept)

    def _read(self, name: str) -> bytes | None:
        if self.folder is None:
            return self._here.get(name)
        try:
            return (self.folder / FOLDER / name).read_bytes()
        except FileNotFoundError:
            return None

    def all(self) -> list[Kept]:
        """Return all proposals, newest first."""
        names = list(self._here)
        if self.folder is not None:
            names = [path.name for path in (self.folder / FOLDER).glob("[0-9a-f]*")]
        contents = [content for name in names if (content := self._read(name)) is not None]
        found = [msgspec.msgpack.decode(content, type=Kept) for content in contents]
        return sorted(found, key=lambda kept: kept.proposal.created_at, reverse=True)
