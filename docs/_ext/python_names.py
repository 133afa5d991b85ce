"""The public names of `vaewatch` -> autodoc directives; what they answer is found by its type."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, get_type_hints

import vaewatch
from _ext.markdown import directive
from vaewatch.scoring import errors


def python_functions() -> str:
    """`vaewatch.train` and the other functions at the door."""
    names = [name for name in vaewatch.__all__ if inspect.isfunction(getattr(vaewatch, name))]
    return _rst(f".. autofunction:: vaewatch.{name}" for name in names)


def python_classes() -> str:
    """The classes at the door, with their public methods."""
    found = {name: getattr(vaewatch, name) for name in vaewatch.__all__}
    classes = {name: item for name, item in found.items() if inspect.isclass(item)}
    return _rst(_class(item, f"vaewatch.{name}") for name, item in classes.items())


def python_answers() -> str:
    """What scoring answers: many verdicts, one verdict, a reason, and a service's verdict."""
    many = get_type_hints(vaewatch.Scorer.score)["return"]
    one = get_type_hints(many.__getitem__)["return"].__args__[0]  # of one index; of more, many
    reason = get_type_hints(one)["reasons"].__args__[0]
    served = get_type_hints(vaewatch.Client.score)["return"].__args__[0]
    return _rst(_class(found, _path(found)) for found in (many, one, reason, served))


def python_errors() -> str:
    """The tree of errors."""
    found = [item for _, item in inspect.getmembers(errors, inspect.isclass)]
    own = [item for item in found if item.__module__ == errors.__name__]
    raised = [item for item in own if issubclass(item, Exception)]
    shown = [f".. autoexception:: {_path(item)}\n   :show-inheritance:" for item in raised]
    return _rst([*shown, *(_class(item, _path(item)) for item in own if item not in raised)])


def _class(found: type[Any], path: str) -> str:
    """Show what a class inherits from ours, and nothing of other packages."""
    others = [
        base.__name__ for base in found.__mro__ if not base.__module__.startswith("vaewatch")
    ]
    return f".. autoclass:: {path}\n   :members:\n   :inherited-members: {', '.join(others)}"


def _path(found: type[Any]) -> str:
    return f"{found.__module__}.{found.__qualname__}"


def _rst(lines: Iterable[str]) -> str:
    return directive("eval-rst", "", "\n\n".join(lines))
