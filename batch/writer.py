"""bytes -> a file that appears under its name when it is whole, or standard output.

What is being written stands beside the target as a draft, so that a job that was killed can go on
with it. The draft of a Parquet file is a folder of parts, one for each chunk, joined in the end.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from batch.errors import OutputError
from scoring.folders import sync_folder

STDOUT = "-"
ROW_GROUP = 131_072


class Output(Protocol):
    """Where a job writes. `place` counts what is there: bytes, or parts."""

    @property
    def place(self) -> int: ...

    def write(self, data: bytes) -> None: ...

    def sync(self) -> None:
        """Make what was written outlive a power cut."""

    def commit(self) -> None:
        """Give it its name."""

    def close(self, *, keep: bool) -> None:
        """Leave the draft for `--resume`, or no trace."""


def draft_of(target: str) -> Path | None:
    """Where the draft of a target is; None for a stream or a device, which has none."""
    if target == STDOUT:
        return None
    path = Path(target).resolve()
    if path.exists() and not path.is_file():
        return None
    return path.with_name(f".{path.name}.draft")


def open_output(target: str, to: str, place: int | None) -> Output:
    """A new output, or one that goes on from `place`."""
    with writable(target):
        if to == "parquet":
            return ParquetParts(target, place)
        return TextOutput(target, place)


class TextOutput:
    """Bytes, one after the other."""

    def __init__(self, target: str, place: int | None) -> None:
        self.target, self._draft = target, draft_of(target)
        if target == STDOUT:
            self._stream: BinaryIO = sys.stdout.buffer
        elif place is None or self._draft is None:
            self._stream = open(self._draft or target, "wb")
        else:
            self._stream = open(self._draft, "r+b")
            self._stream.truncate(place)
            self._stream.seek(place)
        self.place = place or 0

    def write(self, data: bytes) -> None:
        with writable(self.target):
            self._stream.write(data)
        self.place += len(data)

    def sync(self) -> None:
        with writable(self.target):
            self._stream.flush()
            if self._draft is not None:
                os.fsync(self._stream.fileno())

    def commit(self) -> None:
        self.sync()
        if self._draft is not None:
            self._stream.close()
            _rename(self._draft, self.target)

    def close(self, *, keep: bool) -> None:
        if self.target == STDOUT:
            return
        try:
            self._stream.close()
        except OSError:
            pass  # what could not be flushed was not journalled, or is thrown away
        if self._draft is not None and not keep:
            self._draft.unlink(missing_ok=True)


class ParquetParts:
    """Each write is a whole Parquet file; `commit` joins them."""

    def __init__(self, target: str, place: int | None) -> None:
        draft = draft_of(target)
        if draft is None:
            raise OutputError(
                f"'{target}' must be a file to take Parquet, got a stream or a device."
            )
        self.target, self._folder, self.place = target, draft, place or 0
        if place is None:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
        for part in sorted(draft.iterdir())[self.place :]:
            part.unlink()

    def write(self, data: bytes) -> None:
        with writable(self.target), open(self._folder / f"{self.place:010}.parquet", "wb") as part:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())
        self.place += 1

    def sync(self) -> None:
        with writable(self.target):
            sync_folder(self._folder)

    def commit(self) -> None:
        import polars as pl

        joined = self._folder.with_name(f"{self._folder.name}.joined")
        with writable(self.target):
            try:
                parts = pl.scan_parquet(sorted(self._folder.iterdir()), glob=False)
                parts.sink_parquet(joined, row_group_size=ROW_GROUP)
                with open(joined, "rb") as file:
                    os.fsync(file.fileno())
                _rename(joined, self.target)
            except pl.exceptions.PolarsError as error:
                raise OutputError(
                    f"'{self.target}' could not be joined from its parts: {error}. Do all input "
                    "files have the same types?"
                ) from error
            finally:
                joined.unlink(missing_ok=True)
        shutil.rmtree(self._folder)

    def close(self, *, keep: bool) -> None:
        if not keep:
            shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def writable(target: str) -> Iterator[None]:
    """Turn what writing raises into one sentence; a broken pipe stays what it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"'{target}' could not be written: {error.strerror or error}."
        ) from error


def _rename(draft: Path, target: str) -> None:
    path = Path(target).resolve()
    with writable(target):
        os.replace(draft, path)
        sync_folder(path.parent)
