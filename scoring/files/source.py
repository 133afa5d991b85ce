"""names of files, folders, globs and URLs -> files, each opened by its format."""

from __future__ import annotations

import glob
import gzip
import io
import os
import select
import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import zstandard

from vaewatch.scoring.errors import SchemaError, SettingError
from vaewatch.scoring.files.chunks import Place
from vaewatch.scoring.files.csv import CsvFile, read_csv
from vaewatch.scoring.files.json.array import begins_array, in_lines
from vaewatch.scoring.files.json.ndjson import NdjsonFile, read_ndjson
from vaewatch.scoring.files.packing import PACKED, packing_of, unpack
from vaewatch.scoring.files.parquet import ParquetFile, read_parquet
from vaewatch.scoring.files.records import Frames, Source, refuse_reserved
from vaewatch.scoring.files.remote import in_folder, is_url, matching, open_object
from vaewatch.scoring.manifest import MANIFEST
from vaewatch.scoring.schema import Schema

STDIN = "-"
JSON = ".json"  # of a file that holds an array of records, or one a line
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    JSON: "ndjson",
}
OF_FOLDERS = [ending for ending in FORMATS if ending != JSON]  # which often say what the data are


def format_named(name: str) -> str | None:
    """Return the format that the name's ending says, under that of packing; None if it says
    none.
    """
    return FORMATS.get(_ending(name))


def format_to_write(name: str) -> str | None:
    """Return the format of an output, as its name's ending says; None if it says none.

    Raises:
        SettingError: it ends as an array of JSON does, and an output has one object a line.
    """
    if _ending(name) == JSON:
        raise SettingError(
            f"an output of JSON has one object a line: name it .ndjson, got '{name}'. "
            "jq -s . FILE makes an array of it."
        )
    return format_named(name)


def _ending(name: str) -> str:
    path = Path(name)
    return (path.with_suffix("") if packing_of(name) else path).suffix.lower()


def expand(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the files that names stand for; those of a folder or a glob in order of their
    names.
    """
    files: list[str] = []
    for source in sources:
        with readable(source):
            found = _objects(source) if is_url(source) else _paths(source)
        if not found and (Path(source) / MANIFEST).is_file():
            raise SchemaError(
                f"'{source}' must be a file or folder of records, but is an artifact. An artifact "
                "comes before the files that it scores."
            )
        if not found:
            raise SchemaError(
                f"'{source}' must hold files that end in {', '.join(OF_FOLDERS)}, "
                f"maybe with {' or '.join(PACKED)} after it, got none. Name others, such as "
                f"those that end in {JSON}, one by one or with a glob."
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
    """A URL whose ending names no format is a folder if there is anything under it."""
    if glob.has_magic(url):
        return matching(url)
    if format_named(url) and not url.endswith("/"):
        return [url]
    inside = in_folder(url)
    return [one for one in inside if _is_data(one)] if inside or url.endswith("/") else [url]


def _is_data(name: str) -> bool:
    return _ending(name) in OF_FOLDERS and Path(name).name[0] != "."


@contextmanager
def open_source(
    name: str, schema: Schema, delimiter: str | None = None, reserved: Collection[str] = ()
) -> Iterator[Source]:
    """Open a file to score it. It must have the schema's columns, and none of the `reserved`."""
    source: Source
    with ExitStack() as stack:
        with readable(name):
            if format_named(name) == "parquet":
                source = ParquetFile.open(name, schema)
            elif _is_json(name, stream := _open(name, stack)):
                source = NdjsonFile.open(name, in_lines(stream), schema, tuple(reserved))
            else:
                source = CsvFile.open(name, stream, schema, delimiter)
            refuse_reserved(source.columns, reserved)
        yield source


@contextmanager
def open_frames(name: str, delimiter: str | None = None) -> Iterator[Frames]:
    """Open a file to read its records without a schema."""
    with ExitStack() as stack:
        with readable(name):
            if format_named(name) == "parquet":
                found = read_parquet(name)
            elif _is_json(name, stream := _open(name, stack)):
                found = Frames("ndjson", read_ndjson(in_lines(stream)))
            else:
                found = read_csv(stream, delimiter)
        yield replace(found, chunks=_readable_chunks(name, found.chunks))


def _readable_chunks(name: str, chunks: Iterator[Any]) -> Iterator[Any]:
    with readable(name):
        yield from chunks


def _is_json(name: str, stream: Any) -> bool:
    """Standard input has no ending that says so, but its first bytes do."""
    if name != STDIN:
        return format_named(name) == "ndjson"
    start = stream.peek(1)
    return start[:1] == b"{" or begins_array(start)


def _open(name: str, stack: ExitStack) -> Any:
    """Return the bytes of a file, unpacked."""
    if name == STDIN:
        return stack.enter_context(io.BufferedReader(_StandardInput()))
    stream = stack.enter_context(open_object(name) if is_url(name) else open(name, "rb"))
    return unpack(stream, packing_of(name), stack)


class _StandardInput(io.RawIOBase):
    """Waits in select, which Ctrl-C interrupts; it does not interrupt a read once polars handles
    the signal.
    """

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


def chunks_of(source: Source, start: Place | None) -> Iterator[Any]:
    """Yield the chunks of a source; what reading raises is turned into one sentence."""
    with readable(source.name):
        yield from source.chunks(start)
