"""names of files, folders and globs -> sources, each opened and checked."""

from __future__ import annotations

import glob
import gzip
import io
import os
import select
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import zstandard

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.csv import CsvFile
from vaewatch.scoring.files.ndjson import NdjsonFile
from vaewatch.scoring.files.parquet import ParquetFile
from vaewatch.scoring.files.records import PACKED, Source
from vaewatch.scoring.files.remote import in_folder, is_url, matching, open_object
from vaewatch.scoring.files.verdicts import refuse_added
from vaewatch.scoring.schema import Schema

STDIN = "-"
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}


def format_named(name: str) -> str | None:
    """What the name's ending says, under that of packing; None if it says nothing."""
    path = Path(name)
    if path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    return FORMATS.get(path.suffix.lower())


def expand(sources: Sequence[str]) -> tuple[str, ...]:
    """The files that are meant, those of a folder or a glob by name."""
    files: list[str] = []
    for source in sources:
        with readable(source):
            found = _objects(source) if is_url(source) else _paths(source)
        if not found:
            endings = ", ".join(FORMATS)
            raise SchemaError(
                f"'{source}' must hold files that end in {endings}, "
                f"maybe with {' or '.join(PACKED)} after it, got none."
            )
        files += found
    return tuple(files)


def _paths(source: str) -> list[str]:
    if Path(source).is_dir():
        paths = sorted(str(path) for path in Path(source).iterdir() if path.is_file())
        return [path for path in paths if _is_data(path)]
    if source != STDIN and not Path(source).exists() and glob.has_magic(source):
        return sorted(glob.glob(source, recursive=True))
    return [source]


def _objects(url: str) -> list[str]:
    """A URL that ends in no format is that of a folder, if there is anything under it."""
    if glob.has_magic(url):
        return matching(url)
    if format_named(url) and not url.endswith("/"):
        return [url]
    inside = in_folder(url)
    return [one for one in inside if _is_data(one)] if inside or url.endswith("/") else [url]


def _is_data(name: str) -> bool:
    return format_named(name) is not None and Path(name).name[0] != "."


@contextmanager
def open_source(name: str, schema: Schema, delimiter: str | None) -> Iterator[Source]:
    """A file that has the schema's columns, and none that scoring adds."""
    with ExitStack() as stack:
        with readable(name):
            source = _source(name, schema, delimiter, stack)
            refuse_added(source.columns)
        yield source


def _source(name: str, schema: Schema, delimiter: str | None, stack: ExitStack) -> Source:
    kind = format_named(name)
    if kind == "parquet":
        return ParquetFile.open(name, schema)
    stream = _unpacked(name, stack)
    if kind == "ndjson" or (name == STDIN and stream.peek(1)[:1] == b"{"):
        return NdjsonFile.open(name, stream, schema)
    return CsvFile.open(name, stream, schema, delimiter)


def _unpacked(name: str, stack: ExitStack) -> Any:
    if name == STDIN:
        return stack.enter_context(io.BufferedReader(_StandardInput()))
    stream = stack.enter_context(open_object(name) if is_url(name) else open(name, "rb"))
    suffix = Path(name).suffix.lower()
    if suffix == ".gz":
        return stack.enter_context(gzip.open(stream, "rb"))
    if suffix == ".zst":
        return stack.enter_context(io.BufferedReader(_Zst(stream), 1 << 20))
    return stream


class _Zst(io.RawIOBase):
    """Unpacks frame after frame. Unlike the library's own reader, it notices a file that was cut
    off, and it goes to any offset, from the start if need be.
    """

    def __init__(self, packed: BinaryIO) -> None:
        self._file = packed
        self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun, self._ready, self._at = False, b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._unpack():
                return 0
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready, self._at = self._ready[size:], self._at + size
        return size

    def _unpack(self) -> bool:
        packed = self._frame.unused_data if self._frame.eof else b""
        packed = packed or self._file.read(1 << 16)
        if not packed:
            if self._begun and not self._frame.eof:
                raise zstandard.ZstdError("it ends in the middle")
            return False
        if self._frame.eof:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun, self._ready = True, self._frame.decompress(packed)
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only an offset from the start is known")
        if offset < self._at:
            self._restart()
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass
        return self._at

    def tell(self) -> int:
        return self._at


class _StandardInput(io.RawIOBase):
    """Waits in select, which Ctrl-C ends; not a read once polars handles it."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        handle = sys.stdin.fileno()
        select.select([handle], [], [])
        return os.readv(handle, [buffer])


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what reading raises into one sentence that names the file."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"'{name}': {error}") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SchemaError(f"'{name}' must be a whole .gz file: {error}.") from error
    except zstandard.ZstdError as error:
        raise SchemaError(f"'{name}' must be a whole .zst file: {error}.") from error
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise SchemaError(f"'{name}' must be a Parquet file: {reason}.") from error
    except OSError as error:
        raise SchemaError(f"'{name}' must be readable: {error.strerror or error}.") from error


def pieces_of(source: Source, start: Any) -> Iterator[Any]:
    """What `Source.pieces` gives, with its errors as sentences."""
    with readable(source.name):
        yield from source.pieces(start)
