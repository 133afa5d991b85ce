"""Private names of other packages that the service uses where the public ones cost too much.

They are looked for when the service starts. If one is gone, the service does without all of them:
it is slower, answers the same, and warns once. `pyproject.toml` bounds the versions from above.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

SETS = "STORE_ATTR"  # the instruction of `self.x = ...`


@dataclass(frozen=True)
class Private:
    """Names that a class must define, or that its methods must set on an object."""

    kind: type
    names: tuple[str, ...]

    def missing(self) -> list[str]:
        """The names that are not there, as `Class.name`."""
        found = set(_names_of(self.kind))
        return [f"{self.kind.__name__}.{name}" for name in self.names if name not in found]


def _names_of(kind: type) -> Iterator[str]:
    for owner in kind.__mro__:
        for name, value in vars(owner).items():
            yield name
            code = getattr(value, "__code__", None)
            if isinstance(code, CodeType):
                yield from (op.argval for op in dis.get_instructions(code) if op.opname == SETS)
