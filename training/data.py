"""files or a DataFrame -> one polars frame, and what it is known by."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import polars as pl

from scoring.delimited import read_header
from scoring.errors import SchemaError
from scoring.frames import frame_of_block, frame_of_pandas
from scoring.rows import read_blocks

PARQUET = (".parquet", ".pq")


def read_frame(data: Any) -> pl.DataFrame:
    """Rows of one or more CSV (also .gz) or Parquet files, or of a pandas or polars DataFrame.

    Raises:
        SchemaError: a file cannot be read, a row is ragged, or two files differ in their columns.
    """
    if isinstance(data, pl.DataFrame):
        frame = data
    elif hasattr(data, "dtypes") and hasattr(data, "columns"):
        frame = frame_of_pandas(data)
    else:
        frame = _read_files([data] if isinstance(data, (str, Path)) else list(data))
    if not len(frame):
        raise SchemaError("the input must have records, got a header and no rows.")
    return frame


def _read_files(paths: Sequence[str | Path]) -> pl.DataFrame:
    if not paths:
        raise SchemaError("at least one file of normal records must be given, got none.")
    frames = [_read_file(Path(path)) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if set(frame.columns) != set(frames[0].columns):
            differ = sorted(set(frame.columns) ^ set(frames[0].columns))
            raise SchemaError(
                f"all files must have the same columns, but '{paths[0]}' and '{path}' differ in "
                f"'{differ[0]}'."
            )
    return pl.concat([frame.select(frames[0].columns) for frame in frames], how="vertical_relaxed")


def _read_file(path: Path) -> pl.DataFrame:
    try:
        if path.suffix.lower() in PARQUET:
            return pl.read_parquet(path)
        with open_csv(path) as stream:
            return _read_csv(stream, path)
    except SchemaError as error:
        raise SchemaError(f"'{path}': {error}") from error
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"'{path}' must be a Parquet file: {error}.") from error
    except OSError as error:
        raise SchemaError(f"'{path}' must be readable: {error.strerror or error}.") from error


def open_csv(path: Path) -> BinaryIO:
    """The bytes of a CSV file, unpacked where its name ends in .gz."""
    return (
        cast(BinaryIO, gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else open(path, "rb")
    )


def _read_csv(stream: BinaryIO, path: Path) -> pl.DataFrame:
    header, rest = read_header(stream)
    frames = []
    for block in read_blocks(stream, header, rest):
        if block.bad:
            bad = block.bad[0]
            raise SchemaError(f"{bad.message} (line {bad.line}). Mend or remove that row.")
        frames.append(frame_of_block(block, header))
    if not frames:
        return pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in header.names})
    return pl.concat(frames)


def fingerprint(frame: pl.DataFrame) -> str:
    """A hash of the columns' names, types and values, in order: the same data, the same text."""
    digest = hashlib.sha256(repr(list(frame.schema.items())).encode())
    digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
    return digest.hexdigest()
