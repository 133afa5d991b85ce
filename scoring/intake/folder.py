"""an artifact's folder -> the bytes of its files: regular ones of bounded size, nothing else.

An artifact may come from a registry, a bucket or a colleague. The folder itself may be reached by
links (a `current` one is how versions are switched). What is in it is not followed anywhere: a
link, a pipe or a device in place of a file is refused, and never waited for.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.text import has_control, one_line

MIB = 1 << 20
# the most bytes of a file; of one that is not named here, OTHERWISE
LARGEST = {
    "manifest.json": 64 * MIB,
    "golden.json": 16 * MIB,
    "calibration.safetensors": 256 * MIB,
    "marginals.safetensors": 256 * MIB,
    "report.json": 256 * MIB,
    "report.html": 256 * MIB,
}
OTHERWISE = 1024 * MIB
LONGEST_NAME = 255
KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISLNK: "a link",
}


class Folder:
    """The folder of one artifact, opened once: its files are those of one moment, even where the
    link that led to it moves on.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle

    def has(self, name: str) -> bool:
        """Return whether something has this name, whatever it is."""
        try:
            os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        except OSError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return a file's bytes.

        Raises:
            ArtifactError: it is no regular file, too large, or cannot be read.
        """
        with self._opened(name) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1)
        if len(content) != size:
            raise ArtifactError(f"'{self.path}' must not change while it is read: {name} did.")
        return content

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, which is not kept."""
        with self._opened(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextmanager
    def _opened(self, name: str) -> Iterator[BufferedReader]:
        require_name(self.path, name)
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            handle = os.open(name, flags, dir_fd=self._handle)
            with open(handle, "rb") as file:
                self._require_regular(name, os.fstat(handle))
                yield file
        except OSError as error:
            self._require_regular(name, self._found(name))
            raise ArtifactError(
                f"'{self.path}' is not whole: {name} must be readable: {error.strerror}."
            ) from error

    def _found(self, name: str) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        except OSError:
            return None

    def _require_regular(self, name: str, found: os.stat_result | None) -> None:
        if found is None:
            return
        for is_kind, word in KINDS.items():
            if is_kind(found.st_mode):
                raise ArtifactError(
                    f"'{self.path}' is not whole: {name} must be a regular file, got {word}. "
                    "Copy the file itself into the folder."
                )
        most = LARGEST.get(name, OTHERWISE)
        if found.st_size > most:
            raise ArtifactError(
                f"'{self.path}' is damaged: {name} must have at most {most / MIB:,.0f} MiB, got "
                f"{found.st_size / MIB:,.0f}."
            )


def require_name(path: Path, name: str) -> None:
    """Refuse a name that a manifest must not list."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ArtifactError(f"'{path}' is damaged: manifest.json names a file outside the folder.")
    if has_control(name) or len(name.encode()) > LONGEST_NAME:
        raise ArtifactError(
            f"'{path}' is damaged: manifest.json names a file '{one_line(name)}', which no "
            "artifact has."
        )


@contextmanager
def opened_folder(path: Path) -> Iterator[Folder]:
    """Open the folder of an artifact.

    Raises:
        ArtifactError: there is no folder, or it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ArtifactError(f"'{path}' is not an artifact: it does not exist.") from None
    except NotADirectoryError:
        raise ArtifactError(
            f"'{path}' is not an artifact: it must be a folder, got a file."
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        what = os.strerror(error.errno or errno.EIO) if isinstance(error, OSError) else str(error)
        raise ArtifactError(f"'{path}' must be readable: {what}.") from error
    try:
        yield Folder(path, handle)
    finally:
        os.close(handle)
