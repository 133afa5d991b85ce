"""What goes wrong in code that trusts its input -> the error of an artifact."""

from __future__ import annotations

from pathlib import Path

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.text import one_line

# what code that trusts its input raises on input that does not deserve it
BROKEN = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def damaged(path: Path | str, error: BaseException) -> ArtifactError:
    """Return the error of an artifact whose content makes no sense to this release."""
    what = one_line(error).rstrip(".")
    return ArtifactError(f"'{path}' is damaged: {type(error).__name__}: {what}.")
