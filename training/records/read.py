"""files or a DataFrame -> one polars frame, and what it is known by."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import polars as pl
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.files.chunks import read_header
from vaewatch.scoring.files.frames import frame_of, frame_of_block
from vaewatch.scoring.files.rows import read_blocks
from vaewatch.training.streams import Stream, stream

BLOCK_ROWS = 65_536
PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Sample:
    """Some rows of the input in their order, of `total` that there are."""

    frame: pl.DataFrame
    total: int


def read_frame(data: Any) -> pl.DataFrame:
    """All rows, see `read_sample`."""
    return read_sample(data, most=None, seed=0).frame


def read_sample(data: Any, most: int | None, seed: int) -> Sample:
    """At most so many rows, drawn uniformly, of one or more CSV (also .gz) or Parquet files, or of
    a pandas or polars DataFrame. Files are read in blocks: memory grows with `most` alone.

    Raises:
        SchemaError: a file cannot be read, a row is ragged, or two files differ in their columns.
    """
    if hasattr(data, "columns"):
        blocks = iter([frame_of(data)])
    else:
        blocks = _blocks_of_files([data] if isinstance(data, (str, Path)) else list(data))
    sample = _draw(blocks, most, stream(seed, Stream.SAMPLE))
    if not sample.total:
        raise SchemaError("the input must have records, got a header and no rows.")
    return sample


def _draw(blocks: Iterator[pl.DataFrame], most: int | None, rng: np.random.Generator) -> Sample:
    """Give each row a random key and keep those with the least, in the order that they came."""
    kept: list[pl.DataFrame] = []
    keys: list[NDArray[np.float64]] = []
    total = held = 0
    for block in blocks:
        kept.append(block)
        keys.append(rng.random(len(block)))
        total, held = total + len(block), held + len(block)
        if most is not None and held > 2 * most:
            kept, keys = _least(kept, keys, most)
            held = most
    if most is not None and held > most:
        kept, keys = _least(kept, keys, most)
    return Sample(pl.concat(kept, how="vertical_relaxed"), total)


def _least(
    kept: list[pl.DataFrame], keys: list[NDArray[np.float64]], most: int
) -> tuple[list[pl.DataFrame], list[NDArray[np.float64]]]:
    key = np.concatenate(keys)
    rows = np.sort(np.argpartition(key, most)[:most])
    return [pl.concat(kept, how="vertical_relaxed")[rows]], [key[rows]]


def _blocks_of_files(paths: Sequence[str | Path]) -> Iterator[pl.DataFrame]:
    """The rows of all files, with the first file's columns in its order."""
    if not paths:
        raise SchemaError("at least one file of normal records must be given, got none.")
    names: list[str] = []
    for path in paths:
        for block in _blocks_of_file(Path(path)):
            names = names or block.columns
            if set(block.columns) != set(names):
                differ = sorted(set(block.columns) ^ set(names))
                raise SchemaError(
                    f"all files must have the same columns, but '{paths[0]}' and '{path}' differ "
                    f"in '{differ[0]}'."
                )
            yield block.select(names)


def _blocks_of_file(path: Path) -> Iterator[pl.DataFrame]:
    try:
        if path.suffix.lower() in PARQUET:
            yield from _blocks_of_parquet(path)
        else:
            with open_csv(path) as stream:
                yield from _blocks_of_csv(stream)
    except SchemaError as error:
        raise SchemaError(f"'{path}': {error}") from error
    except pyarrow.ArrowException as error:
        raise SchemaError(f"'{path}' must be a Parquet file: {error}.") from error
    except OSError as error:
        raise SchemaError(f"'{path}' must be readable: {error.strerror or error}.") from error


def _blocks_of_parquet(path: Path) -> Iterator[pl.DataFrame]:
    with pyarrow.parquet.ParquetFile(path) as file:
        yield cast(pl.DataFrame, pl.from_arrow(file.schema_arrow.empty_table()))
        for batch in file.iter_batches(BLOCK_ROWS):
            yield cast(pl.DataFrame, pl.from_arrow(batch))


def _blocks_of_csv(stream: BinaryIO) -> Iterator[pl.DataFrame]:
    header, rest = read_header(stream)
    yield pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in header.names})
    for block in read_blocks(stream, header, rest):
        if block.bad:
            bad = block.bad[0]
            raise SchemaError(f"{bad.message} (line {bad.line}). Mend or remove that row.")
        yield frame_of_block(block, header)


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
