"""Model <-> the folder that workers share: the artifact that all of them answer from.

A `current` link may have moved without a reload, or to an artifact that was refused. A worker that
replaces a dead one must still answer as the others do.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from vaewatch.service.model.model import Model

NAME = "served.json"


class Served(msgspec.Struct):
    """`path`: where the next reload looks. `target`: the folder that the last one found there."""

    path: Path
    target: Path


def remember(folder: Path | None, model: Model) -> None:
    """Write down which model answers from now on, whole or not at all. What another worker has
    written already needs no room.

    Raises:
        OSError: the folder cannot be written.
    """
    now = Served(model.path, model.target)
    if folder is not None and served(folder) != now:
        draft = folder / f".{NAME}-{os.getpid()}"
        draft.write_bytes(msgspec.json.encode(now, enc_hook=str))
        draft.rename(folder / NAME)


def served(folder: Path | None) -> Served | None:
    """Read what the other workers answer from; None if there are none."""
    if folder is None or not (folder / NAME).exists():
        return None
    content = (folder / NAME).read_bytes()
    return msgspec.json.decode(content, type=Served, dec_hook=lambda kind, text: kind(text))
