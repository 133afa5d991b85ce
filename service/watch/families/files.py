"""Counters of a worker -> files whose room on the disk is taken before it is used.

prometheus-client maps sparse files into memory. Where the disk is full, the kernel ends a process
that writes to a new page of one (SIGBUS); with the room taken, it is an error like any other.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

from vaewatch.scoring.errors import OutputError
from vaewatch.service.private import Private

PRIVATE = Private(MmapedDict, ("_init_value", "_f", "_used", "_capacity"))  # of prometheus-client
AS_THEY_COME = PRIVATE.missing()
ROOM = 1 << 18  # bytes of a new file; those of a model of a hundred columns seldom outgrow it
HEAD = 8  # bytes of a file before its entries, of which four say how many bytes are in use
AROUND = 28  # bytes of an entry beside its key, at most: its length, padding, value and time


class ReservedDict(MmapedDict):
    """A file of values that holds all of its bytes.

    Raises:
        OutputError: the disk has no room for a new file.
        OSError: it has none for a new entry. Those before stay.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode and not os.path.exists(filename):
            _create(Path(filename))
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        needed, capacity = self._used + len(key.encode()) + AROUND, self._capacity
        while capacity < needed:
            capacity *= 2
        if capacity > self._capacity:  # what is mapped next
            _reserve(self._f.fileno(), capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def _create(path: Path) -> None:
    """Make a file of zeros, whole or not at all: a scrape reads each that it finds."""
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            _reserve(file.fileno(), ROOM)
        draft.rename(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(
            f"'{path.parent}' must have room for the counters of each worker: {error.strerror}. "
            "Free some, or set TMPDIR to a larger folder."
        ) from error


def _reserve(file: int, size: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(file, 0, size)


def give_room_back(folder: Path, pid: int) -> None:
    """Cut the files of a dead worker, whose counts stay, to what they hold."""
    for path in folder.glob(f"*_{pid}.db"):
        with path.open("r+b") as file:
            file.truncate(max(HEAD, int.from_bytes(file.read(4), sys.byteorder)))


def reserve_files() -> None:
    """Have the values that are made from now on kept in such files, where several processes share
    a folder.
    """
    if not AS_THEY_COME:
        values.MmapedDict = ReservedDict  # type: ignore[attr-defined]
