"""a safetensors file -> its arrays by name, if it holds those that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from vaewatch.scoring.errors import ArtifactError
from vaewatch.scoring.intake.damage import BROKEN
from vaewatch.scoring.intake.text import one_line


def read_tensors(
    content: bytes, name: str, wanted: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return the wanted arrays of a file, and the optional ones that it has; others, of a later
    release, are left out.

    Raises:
        ArtifactError: it is no safetensors file, has types that NumPy lacks, or an array is not
            there.
    """
    try:
        arrays = load(content)
    except KeyError as error:  # bfloat16 and its like
        raise ArtifactError(
            f"{name} must hold numbers of NumPy's types, got {one_line(error)}."
        ) from error
    except (*BROKEN, SafetensorError) as error:
        raise ArtifactError(f"{name} must be a safetensors file: {one_line(error)}.") from error
    lacking = [each for each in wanted if each not in arrays]
    if lacking:
        raise ArtifactError(
            f"{name} must hold the arrays {', '.join(wanted)}, but lacks {lacking[0]}."
        )
    return {each: arrays[each] for each in (*wanted, *optional) if each in arrays}
