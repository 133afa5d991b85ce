"""bytes -> a file that appears under its name when it is whole, or standard output.

Until then they stand beside the target as a draft, so that a job that was killed can be resumed.
The draft of a Parquet file is a folder with a file for each chunk; these are joined at the end.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import polars as pl

from vaewatch.scoring.disk.lock import sole_writer
from vaewatch.scoring.errors import OutputError
from vaewatch.scoring.files.parquet import join_parquet
from vaewatch.scoring.files.remote import is_url, put, require_writable, upload
from vaewatch.scoring.files.whole import (
    create,
    hidden,
    is_ours,
    remove,
    reopen,
    resolve,
    sync_folder,
    write_whole,
)

STDOUT = "-"


class Output(Protocol):
    """Where a job writes. `place` is how much it has written: bytes, or files of a draft."""

    @property
    def place(self) -> int: ...

    def write(self, data: bytes) -> None: ...

    def sync(self) -> None:
        """Wait until what was written would survive a power cut."""

    def commit(self) -> None:
        """Give the whole output its name."""

    def close(self, *, keep: bool) -> None:
        """Close the output; `keep` its draft for `--resume`, or delete it."""


def draft_of(target: str, drafts: str = ".") -> Path | None:
    """The path of a target's draft, which for a URL is in the folder `drafts`; None for a stream
    or a device, which has no draft.
    """
    if target == STDOUT:
        return None
    if is_url(target):
        digest = hashlib.sha256(target.encode()).hexdigest()[:8]  # two URLs may end alike
        return hidden(Path(drafts).resolve() / Path(target).name, f".{digest}.draft")
    path = place_of(target)
    return None if path is None else hidden(path, ".draft")


def place_of(target: str) -> Path | None:
    """The path of a target, through links; None for a device or a pipe."""
    named = Path(target)
    with writable(target):
        if named.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if named.exists() and not named.is_file():  # before it is resolved, as no pipe can be
            return None
        return resolve(named)


def locked(*targets: str | None, drafts: str = ".") -> AbstractContextManager[None]:
    """Hold the locks of the targets that are files or URLs, for the length of a block.

    Raises:
        SettingError: another job writes to one of them.
    """
    files = [
        draft_of(target, drafts) if is_url(target) else place_of(target)
        for target in targets
        if target is not None and target != STDOUT
    ]
    return sole_writer(*(path for path in files if path is not None))


def open_output(target: str, to: str, place: int | None, drafts: str = ".") -> Output:
    """A new output, or one that continues a draft from `place` on."""
    with writable(target):
        if is_url(target):
            require_writable(target)
        if to == "parquet":
            return ParquetOutput(target, draft_of(target, drafts), place)
        return TextOutput(target, draft_of(target, drafts), place)


def complete(target: str, drafts: str = ".") -> None:
    """Give a whole draft its name, unless a job did so before it was killed."""
    draft = draft_of(target, drafts)
    if draft is None:
        return
    shutil.rmtree(_done(draft), ignore_errors=True)
    if draft.is_dir():
        _join(draft, target)
    elif draft.exists():
        _publish(draft, target)


class TextOutput:
    """An output of bytes that follow each other."""

    def __init__(self, target: str, draft: Path | None, place: int | None) -> None:
        self.target, self._draft = target, draft
        self._shown = _grows_at(target, draft)
        if target == STDOUT:
            self._stream: BinaryIO = sys.stdout.buffer
        elif self._draft is None:
            self._stream = open(target, "wb")
        elif place is None:
            self._stream = open(create(self._draft), "wb")
        else:
            self._stream = open(reopen(self._draft, os.O_RDWR), "r+b")
            if os.fstat(self._stream.fileno()).st_size < place:
                self._stream.close()
                raise OutputError(_shorter(self._draft))
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
            pass  # what could not be flushed has no entry in the journal, or is deleted
        if self._draft is not None and not keep:
            self._draft.unlink(missing_ok=True)


class ParquetOutput:
    """An output of whole Parquet files, which `commit` joins."""

    def __init__(self, target: str, draft: Path | None, place: int | None) -> None:
        if draft is None:
            raise OutputError(
                f"'{target}' must be a file to take Parquet, got a stream or a device."
            )
        self.target, self._folder, self.place = target, draft, place or 0
        self._shown = _grows_at(target, draft)
        if place is None:
            remove(draft)
            draft.mkdir(mode=0o700)
        elif draft.is_symlink() or not is_ours(draft.parent, draft.stat()):
            raise OutputError(
                f"'{draft}' must be a folder that you made. Start from the beginning."
            )
        if len(list(draft.glob("*.parquet"))) < self.place:
            raise OutputError(_shorter(draft))
        for file in sorted(draft.iterdir())[self.place :]:
            file.unlink()

    def write(self, data: bytes) -> None:
        with writable(self._shown), open(self._folder / f"{self.place:010}.parquet", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
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
    """Turn what writing raises into one sentence; a broken pipe passes through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"'{target}' could not be written: {error.strerror or error}."
        ) from error


def _shorter(draft: Path) -> str:
    return (
        f"'{draft}' must hold all that its journal says, but it is shorter. Run again without "
        "--resume to start from the beginning."
    )


def _grows_at(target: str, draft: Path | None) -> str:
    """What errors name: the draft of a URL; for a path its own name, since both share a disk."""
    if target == STDOUT:
        return "standard output"
    return str(draft) if is_url(target) else target


def _join(folder: Path, target: str) -> None:
    """Join the Parquet files of a draft to the target."""
    joined, done = folder / "joined", _done(folder)  # the folder is ours alone
    with writable(target):
        try:
            remove(joined)
            remove(done)  # of a job that was killed at its end
            join_parquet(sorted(folder.glob("*.parquet")), joined)
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
        folder.rename(done)  # first, or `complete` would join a half deleted folder
        shutil.rmtree(done)


def _done(folder: Path) -> Path:
    return folder.with_suffix(".done")


def _publish(draft: Path, target: str) -> None:
    """Give a whole file its name by a rename or an upload, either of which is atomic."""
    with writable(target):
        if is_url(target):
            upload(draft, target)
            draft.unlink()
            return
        path = resolve(Path(target))
        os.replace(draft, path)
        sync_folder(path.parent)


def write_small(target: str, data: bytes) -> None:
    """Write a small file, at a path or a URL."""
    with writable(target):
        if is_url(target):
            put(data, target)
            return
        write_whole(Path(target), data)
