"""files -> the version of an artifact, and the moment that it is made."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime

from vaewatch.scoring.artifact import FINDINGS, REPORT
from vaewatch.scoring.errors import SettingError
from vaewatch.scoring.intake.text import one_line
from vaewatch.scoring.schema import Schema
from vaewatch.scoring.series.window import Window


def name_version(
    files: Mapping[str, bytes], schema: Schema, alpha: float, window: Window | None = None
) -> str:
    """Return a name for what the artifact does: the same content, the same version, with a report
    or without.
    """
    named = (schema, alpha) if schema.segment is None else (schema, alpha, schema.segment)
    digest = hashlib.sha256(repr(named).encode())
    if schema.time is not None:
        usual = [(column.period, column.usual) for column in schema.circular]
        digest.update(repr((schema.time, usual)).encode())
    if window is not None:
        digest.update(repr((window, schema.entity)).encode())
    for name in sorted(set(files) - {FINDINGS, REPORT}):
        digest.update(files[name])
    return digest.hexdigest()[:12]


def now() -> str:
    """Return the time in UTC, ISO 8601; SOURCE_DATE_EPOCH fixes it for reproducible builds.

    Raises:
        SettingError: that is no moment.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise SettingError(
            f"SOURCE_DATE_EPOCH must be whole Unix seconds, got '{one_line(epoch)}'."
        ) from None
    return moment.isoformat(timespec="seconds")
