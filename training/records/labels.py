"""a column of labels -> which records are anomalies, and which words said so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from vaewatch.scoring.errors import SchemaError
from vaewatch.scoring.schema import require_columns

NORMAL_NAMES = (
    "0", "false", "no", "normal", "ok", "benign", "inlier", "negative", "legitimate", "genuine",
    "healthy", "nominal",
)  # fmt: skip
# labels that mean normal only beside the other one: 1 is an anomaly beside 0, but not beside -1,
# the convention of scikit-learn
PAIRS = {
    "1": "-1",
    "b": "m",
    "n": "y",
    "f": "t",
    "off": "on",
    "good": "bad",
    "pass": "fail",
    "legit": "fraud",
    "non-fraud": "fraud",
    "clean": "malware",
    "goodware": "malware",
    "ham": "spam",
    "safe": "unsafe",
    "neg": "pos",
    "passed": "failed",
    "class 0": "class 1",
    "class0": "class1",
}
# "no fraud" is normal beside "fraud", but "not ok" is not beside "ok"
NEGATED = re.compile(
    r"(?:no|not|non)[ _-]?((?:anomal|attack|defect|error|fail|fault|fraud|intrusion|malicious"
    r"|outlier)\w*)"
)
SHOWN = 8  # labels that a text lists


@dataclass(frozen=True)
class Labels:
    """Labels of N records. anomaly: (N,). normal, other: the labels that were seen, as written.
    kinds: (N,) the label of each record, as a number.
    """

    anomaly: NDArray[np.bool_]
    normal: tuple[str, ...]
    other: tuple[str, ...]
    kinds: NDArray[np.uint32] | None = None


def read_labels(
    frame: pl.DataFrame, label: str, normal: Sequence[str] = (), *, some_normal: bool = True
) -> Labels:
    """Read a column of labels.

    Args:
        frame: N records.
        label: the column's name.
        normal: the labels that mean normal; by default NORMAL_NAMES, and the first of PAIRS where
            those are the two that the column has.
        some_normal: whether to refuse a column in which no label means normal.

    Raises:
        SchemaError: there is no such column, a record has no label, or none is normal.
    """
    require_columns(frame.columns, [label], "label")
    text = frame[label].cast(pl.String).str.strip_chars()
    missing = text.is_null() | text.str.to_lowercase().is_in(["", "nan"])
    if missing.any():
        raise SchemaError(
            f"label column '{label}' must have a value in each record, got none in record "
            f"{missing.arg_max()}."
        )
    seen = {value: _plain(value) for value in text.unique(maintain_order=True).to_list()}
    means_normal = _normal_of(set(seen.values()), {_plain(value) for value in normal})
    normals = tuple(value for value, plain in seen.items() if plain in means_normal)
    others = tuple(value for value in seen if value not in normals)
    if len(text) and not normals and some_normal:
        raise SchemaError(_refusal(label, others, normal))
    kinds = text.rank("dense").cast(pl.UInt32).to_numpy()
    return Labels((~text.is_in(list(normals))).to_numpy(), normals, others, kinds)


def _plain(value: str) -> str:
    """Return a label as it is compared: in small letters, 1.0 as 1, and KDD's `normal.`."""
    try:
        return f"{float(value) + 0.0:g}"
    except ValueError:
        return value.strip().lower().rstrip(".")


def _normal_of(seen: set[str], asked: set[str]) -> set[str]:
    if asked:
        return asked
    paired = {normal for normal, other in PAIRS.items() if seen == {normal, other}}
    negated = {name for name in seen if (no := NEGATED.fullmatch(name)) and seen == {name, no[1]}}
    return paired or negated or set(NORMAL_NAMES)


def _refusal(label: str, others: Sequence[str], asked: Sequence[str]) -> str:
    shown = ", ".join(f"'{value}'" for value in others[:SHOWN])
    more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
    known = ", ".join(asked or NORMAL_NAMES)
    pairs = "" if asked else "; and one of a known pair, such as 1 beside -1 or ham beside spam"
    return (
        f"label column '{label}' must have a normal record, got only the labels {shown}{more}. "
        f"Normal: {known}{pairs}. Name yours with --normal-label."
    )
