"""bytes -> a file that appears under its name when it is whole, or standard output.

What is being written stands beside the target as a draft, so that a job that was killed can go on
with it. The draft of a Parquet file is a folder of parts, one for each chunk, joined in the end.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from vaewatch.scoring.errors import OutputError
from vaewatch.scoring.files.remote import is_url, put, require_writable, upload
from vaewatch.scoring.files.whole import sync_folder, write_whole

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


def draft_of(target: str, drafts: str = ".") -> Path | None:
    """Where the draft of a target is, that of a URL in the folder `drafts`; None for a stream or a
    device, which has none.
    """
    if target == STDOUT:
        return None
    if is_url(target):
        known = hashlib.sha256(target.encode()).hexdigest()[:8]  # two URLs may end alike
        return Path(drafts).resolve() / f".{Path(target).name}.{known}.draft"
    path = Path(target).resolve()
    if path.exists() and not path.is_file():
        return None
    return path.with_name(f".{path.name}.draft")


def open_output(target: str, to: str, place: int | None, drafts: str = ".") -> Output:
    """A new output, or one that goes on from `place`."""
    with writable(target):
        if is_url(target):
            require_writable(target)
        if to == "parquet":
            return ParquetParts(target, draft_of(target, drafts), place)
        return TextOutput(target, draft_of(target, drafts), place)


def complete(target: str, drafts: str = ".") -> None:
    """Give a draft that is whole its name, unless a job did so before it was killed."""
    draft = draft_of(target, drafts)
    if draft is None:
        return
    shutil.rmtree(_done(draft), ignore_errors=True)
    if draft.is_dir():
        _join(draft, target)
    elif draft.exists():
        _publish(draft, target)


class TextOutput:
    """Bytes, one after the other."""

    def __init__(self, target: str, draft: Path | None, place: int | None) -> None:
        self.target, self._draft = target, draft
        self._shown = _grows_at(target, draft)
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
        with writable(self._shown):
            self._stream.write(data)
        self.place += len(data)

    def sync(self) -> None:
        with writable(self._shown):
            self._stream.flush()
            if self._draft is not None:
                os.fsync(self._stream.fileno())

    def commit(self) -> None:
        self.sync()
        if self._draft is not None:
            self._stream.close()
            _publish(self._draft, self.target)

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

    def __init__(self, target: str, draft: Path | None, place: int | None) -> None:
        if draft is None:
            raise OutputError(
                f"'{target}' must be a file to take Parquet, got a stream or a device."
            )
        self.target, self._folder, self.place = target, draft, place or 0
        self._shown = _grows_at(target, draft)
        if place is None:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
        for part in sorted(draft.iterdir())[self.place :]:
            part.unlink()

    def write(self, data: bytes) -> None:
        with writable(self._shown), open(self._folder / f"{self.place:010}.parquet", "wb") as part:
            part.write(data)
            part.flush()
            os.fsync(part.fileno())
        self.place += 1

    def sync(self) -> None:
        with writable(self._shown):
            sync_folder(self._folder)

    def commit(self) -> None:
        _join(self._folder, self.target)

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


def _grows_at(target: str, draft: Path | None) -> str:
    """What is written to: beside a path that is its folder's disk, so the path is named."""
    if target == STDOUT:
        return "standard output"
    return str(draft) if is_url(target) else target


def _join(folder: Path, target: str) -> None:
    """The parts of a Parquet file, to the file."""
    import polars as pl

    joined = folder.with_name(f"{folder.name}.joined")
    with writable(target):
        try:
            parts = pl.scan_parquet(sorted(folder.iterdir()), glob=False)
            parts.sink_parquet(joined, row_group_size=ROW_GROUP)
            with open(joined, "rb") as file:
                os.fsync(file.fileno())
            _publish(joined, target)
        except pl.exceptions.PolarsError as error:
            raise OutputError(
                f"'{target}' could not be joined from its parts: {error}. Do all input files have "
                "the same types?"
            ) from error
        finally:
            joined.unlink(missing_ok=True)
    done = _done(folder)
    folder.rename(done)  # at once: of a folder half deleted, `complete` would join what is left
    shutil.rmtree(done)


def _done(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.done")


def _publish(draft: Path, target: str) -> None:
    """Give a whole file its name: a rename, or an upload; either is seen at once or not at all."""
    with writable(target):
        if is_url(target):
            upload(draft, target)
            draft.unlink()
            return
        path = Path(target).resolve()
        os.replace(draft, path)
        sync_folder(path.parent)


def write_small(target: str, data: bytes) -> None:
    """A small file, at a path or a URL."""
    with writable(target):
        if is_url(target):
            put(data, target)
            return
        write_whole(Path(target), data)
