"""Files that appear whole or not at all, and stay after a power cut.

Others may write in the same folder. So a draft that no later run needs has a name that nobody can
foresee; one that has to be found again is made anew or, to go on from it, must be a file of ours.
No link is followed in either case.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import tempfile
from pathlib import Path

ROOM = 64  # bytes that a hidden name keeps for its ending


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk (POSIX: fsync of the folder itself), since
    a new name is safe only then.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def named(path: Path) -> Path:
    """Return an absolute path that ends in a name, for one such as `.` too."""
    return path.resolve() if path.name in ("", "..") else path.absolute()


def hidden(path: Path, ending: str) -> Path:
    """Return the name of a file that belongs to `path`, in the same folder. A name that leaves no
    room for the ending, of 255 bytes, is cut and gets a hash instead.
    """
    path = named(path)
    name = path.name
    if len(os.fsencode(name)) + 1 + ROOM > 255:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        name = f"{os.fsencode(name)[: 240 - ROOM].decode(errors='ignore')}~{digest}"
    return path.with_name(f".{name}{ending}")


def resolve(path: Path) -> Path:
    """Return where a path leads, as the kernel would: not by another user's link in a folder like
    /tmp, in which everybody may write (Linux: fs.protected_symlinks).

    Raises:
        PermissionError: there is such a link.
    """
    if path.is_symlink():
        link, folder = path.lstat(), path.absolute().parent.stat()
        shared = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if shared and link.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(errno.EPERM, "it is another user's link in a shared folder")
    return path.resolve()


def create(path: Path) -> int:
    """Open a new file for writing in place of what has the name, which is deleted, link or not."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        remove(path)
        return os.open(path, flags, 0o666)


def reopen(path: Path, flags: int) -> int:
    """Open a file that an earlier run has left, to go on from it.

    Raises:
        OSError: it cannot be opened, is no regular file, or belongs to another user.
    """
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or not is_ours(path.parent, found):
        os.close(handle)
        raise PermissionError(
            errno.EPERM, f"'{path}' must be a file that you wrote; start from the beginning"
        )
    return handle


def is_ours(folder: Path, found: os.stat_result) -> bool:
    """Return whether a file has the owner that our files get in this folder. On a share this may
    be another one than that of the process.
    """
    if found.st_uid == os.geteuid():
        return True
    with tempfile.TemporaryFile(dir=folder) as own:
        return found.st_uid == os.fstat(own.fileno()).st_uid


def read_ours(path: Path) -> bytes:
    """Read a file that an earlier run has left; see `reopen`."""
    with open(reopen(path, os.O_RDONLY), "rb") as file:
        return file.read()


def remove(path: Path) -> None:
    """Delete a file, a link (not what it leads to) or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears under its name with all of its content, or not at all.

    A pipe or a device gets the bytes directly, since a rename would put a file in its place.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    replace_whole(resolve(path), data)


def replace_whole(path: Path, data: bytes) -> None:
    """Like `write_whole`, in place of whatever has the name, a link or a pipe too."""
    draft = hidden(path, f".{secrets.token_hex(8)}.draft")
    try:
        with open(create(draft), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def drafts_of(path: Path) -> list[Path]:
    """Return the drafts of a file that killed processes, or running ones, have left."""
    pattern = re.compile(re.escape(hidden(path, "").name) + r"\.[0-9a-f]{16}\.draft")
    folder = named(path).parent
    return [each for each in folder.iterdir() if pattern.fullmatch(each.name)]
