"""bytes -> a file that appears under its name when it is whole, or standard output."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from batch.errors import OutputError

STDOUT = "-"


class Output:
    """Writes beside the target and renames in the end; leaves nothing when it fails.

    A target that is no ordinary file (a pipe, a device) is written to directly.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._path = None if target == STDOUT else Path(target).resolve()
        self._draft = self._draft_of(self._path)
        self._stream = self._open()

    @staticmethod
    def _draft_of(path: Path | None) -> Path | None:
        if path is None or (path.exists() and not path.is_file()):
            return None
        return path.with_name(f".{path.name}.draft")

    def _open(self) -> BinaryIO:
        if self._path is None:
            return sys.stdout.buffer
        try:
            return open(self._draft or self._path, "wb")
        except OSError as error:
            raise OutputError(f"'{self.target}' must be writable: {error.strerror}.") from error

    def write(self, data: bytes) -> None:
        try:
            self._stream.write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Make it last, then give it its name."""
        try:
            self._stream.flush()
            if self._draft is None or self._path is None:
                return
            os.fsync(self._stream.fileno())
            self._stream.close()
            os.replace(self._draft, self._path)
            _sync_folder(self._path.parent)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def discard(self) -> None:
        """Leave no trace of what is not whole."""
        if self._path is not None:
            try:
                self._stream.close()
            except OSError:
                pass  # what could not be flushed is thrown away
        if self._draft is not None:
            self._draft.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"'{self.target}' could not be written: {error.strerror}. Nothing is left of it."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self.commit()
            except BaseException:
                self.discard()
                raise
        else:
            self.discard()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
