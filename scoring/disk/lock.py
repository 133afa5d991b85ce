"""A lock on what a run writes, so that no two runs write the same files.

The lock is the kernel's (flock), on a file beside the target that goes with the run. It ends with
the process, however that ends, so one that was killed blocks nobody. On NFS it holds between
machines if the server's locks do, that is unless the share is mounted with `nolock` or
`local_lock`; outputs at a URL are locked on this machine alone.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from vaewatch.scoring.errors import OutputError, SettingError
from vaewatch.scoring.files.whole import drafts_of, hidden

MOST = 300  # bytes of a lock's text


@contextmanager
def sole_writer(*targets: Path) -> Iterator[None]:
    """Hold the locks of targets for the length of a block.

    Raises:
        SettingError: another run writes to one of them.
        OutputError: a folder takes no file.
    """
    with ExitStack() as stack:
        for target in targets:
            stack.enter_context(_locked(target))
        yield


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder if need be, for the length of a block if nothing is put into it."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            for each in missing:
                each.rmdir()


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    path = hidden(target, ".lock")
    with writable(target):
        handle = _acquire(path, target)
        _clear_drafts(target)
    try:
        yield
    finally:
        with suppress(OSError):  # it may be another user's
            path.unlink()
        os.close(handle)


def _clear_drafts(target: Path) -> None:
    """Delete the drafts that killed runs have left: whoever holds the lock has none yet."""
    for draft in drafts_of(target):
        with suppress(OSError):  # another user's is in nobody's way
            draft.unlink()


def _acquire(path: Path, target: Path) -> int:
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, MOST).decode(errors="replace").strip()
            os.close(handle)
            raise SettingError(
                f"'{target}' is being written by {holder or 'another process'}. Wait until it has "
                "ended, or choose another name."
            ) from None
        if _is_at(path, handle):
            _sign(handle)
            return handle
        os.close(handle)  # its holder removed it before letting go


def _open(path: Path) -> int:
    safe = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | safe, 0o644)
    except PermissionError:  # another user's, which can be locked all the same
        if not path.exists():
            raise
        handle = os.open(path, os.O_RDONLY | safe)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise PermissionError(1, f"'{path}' must be a regular file. Delete it")
    return handle


def _is_at(path: Path, handle: int) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(handle))


def _sign(handle: int) -> None:
    """Say who holds the lock, in a file that is ours."""
    found = os.fstat(handle)
    if found.st_uid != os.geteuid() or found.st_nlink != 1:
        return
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = f"process {os.getpid()} on {socket.gethostname()} since {since}\n"
    with suppress(OSError):  # a disk that is full stops the run later, and says so
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


@contextmanager
def writable(target: Path) -> Iterator[None]:
    """Turn what writing raises into one sentence."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"'{target}' could not be written: {error.strerror or error}."
        ) from error
