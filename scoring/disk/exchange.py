"""Two names that swap what they stand for at one blow, so that a reader always finds one of both.

On Linux that is renameat2 with RENAME_EXCHANGE, which ext4, XFS, Btrfs, tmpfs and overlay can do.
Elsewhere, as on NFS, it takes three renames: for a moment nothing has the name, and a process that
is killed then leaves it so, with the folder that had it beside it.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vaewatch.scoring.errors import ArtifactError

AT_FDCWD, RENAME_EXCHANGE = -100, 2
CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV)  # the file system, or the kernel

T = TypeVar("T")


def exchange(one: Path, other: Path, aside: Path) -> None:
    """Swap two names in the same folder; `aside` is a free one, for `other` on its way.

    Raises:
        OSError: they stand for what they did before.
    """
    try:
        _exchange_at_once(one, other)
    except OSError as error:
        if error.errno not in CANNOT:
            raise
        _exchange_by_renames(one, other, aside)


def _exchange_at_once(one: Path, other: Path) -> None:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    paths = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    if rename(*paths, ctypes.c_uint(RENAME_EXCHANGE)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def _exchange_by_renames(one: Path, other: Path, aside: Path) -> None:
    os.rename(other, aside)
    try:
        os.rename(one, other)
    except OSError:
        os.rename(aside, other)
        raise
    os.rename(aside, one)


def while_replaced(read: Callable[[Path | str], T]) -> Callable[[Path | str], T]:
    """Have a reader of an artifact's folder read again if the folder was replaced meanwhile."""

    @functools.wraps(read)
    def read_settled(path: Path | str) -> T:
        while True:
            before = _identity(path)
            try:
                return read(path)
            except ArtifactError:
                if _identity(path) == before:
                    raise

    return read_settled


def _identity(path: Path | str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL character
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
