"""The rules of the service: which of its folders may import which, and what it borrows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import uvicorn.protocols.http.httptools_impl as httptools_impl
from prometheus_client import Histogram

from vaewatch.service.http.wire.protocol import IMPLEMENTATION, PRIVATE, missing_of_uvicorn
from vaewatch.service.private import Private
from vaewatch.service.watch import metrics

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service"
FILES = sorted(path for path in SERVICE.rglob("*.py") if path.name != "__init__.py")
# each may import itself and what stands before it; the last four put everything together
ORDER = (
    *("private", "settings", "secret", "signals", "model", "watch", "http", "series", "score"),
    *("v2", "store", "incidents", "feedback", "notify", "recalibrate", "console", "parts"),
    *("app", "worker", "serve"),
)
ALONE = {"v2", "console"}  # neither imports the other
KNOW_HTTP = {"fastapi", "starlette", "uvicorn", "httptools", "http"}


def imports_of(path: Path) -> Iterator[str]:
    """Everything that a file imports, also inside functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(module: str) -> str:
    return module.removeprefix("vaewatch.service.").split(".")[0]


def name_of(path: Path) -> str:
    return "vaewatch.service." + ".".join(path.relative_to(SERVICE).with_suffix("").parts)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_folders_of_the_service_import_only_downwards(path: Path):
    mine = folder_of(name_of(path))
    for module in imports_of(path):
        if not module.startswith("vaewatch.service."):
            continue
        other = folder_of(module)
        if mine == "client":
            assert other == mine, "the client is for other machines: it needs nothing else"
            continue
        assert other in ORDER, f"{name_of(path)} imports {module}, which stands in no order"
        assert ORDER.index(other) <= ORDER.index(mine), f"{name_of(path)} imports {module}"
        assert not (mine != other and {mine, other} <= ALONE), f"{name_of(path)} imports {module}"


def test_no_files_of_the_service_import_each_other():
    graph = {name_of(path): set(imports_of(path)) for path in FILES}
    order = TopologicalSorter({name: found & graph.keys() for name, found in graph.items()})
    assert len(list(order.static_order())) == len(graph)  # a CycleError names the circle


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent.name in ("model", "watch")], ids=name_of
)
def test_models_and_metrics_know_no_http(path: Path):
    assert not {module.split(".")[0] for module in imports_of(path)} & KNOW_HTTP
    above = {"http", "score", "v2", "console"}
    ours = {m for m in imports_of(path) if m.startswith("vaewatch.service.")}
    assert not {folder_of(module) for module in ours} & above


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_commands_know_the_command_line(path: Path):
    assert not {module.split(".")[0] for module in imports_of(path)} & {"click", "rich"}


# what is borrowed of uvicorn and prometheus-client


def test_the_installed_packages_have_the_private_names_that_are_used():
    assert missing_of_uvicorn() == ()
    assert metrics.ONE_BY_ONE == []


def test_a_name_that_is_gone_is_seen():
    class Protocol:
        def __init__(self) -> None:
            self.kept: int = 1

        def method(self) -> None:
            self.other.used = 2  # type: ignore[attr-defined]

    assert Private(Protocol, ("kept", "method", "used")).missing() == []
    assert Private(Protocol, ("other", "gone")).missing() == ["Protocol.other", "Protocol.gone"]
    assert Private(Histogram, ("_bounds",)).missing() == ["Histogram._bounds"]


def test_the_gate_uses_no_private_name_that_is_not_looked_for():
    """An attribute that the gate reads or sets, and that uvicorn's classes set, is uvicorn's."""
    trees = [ast.parse(path.read_text()) for path in (SERVICE / "http" / "wire").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    looked_for = {name for names in PRIVATE.values() for name in names}
    kinds = [getattr(httptools_impl, kind) for kind in PRIVATE]
    borrowed = {name for name in used if any(not Private(k, (name,)).missing() for k in kinds)}
    assert borrowed - {"headers"} <= looked_for  # those of a Reply
    assert IMPLEMENTATION == httptools_impl.__name__


PINNED = ("uvicorn", "prometheus-client")


@pytest.mark.parametrize("package", PINNED)
def test_a_package_whose_private_names_are_used_is_bounded_by_what_was_tried(package: str):
    """When this fails, constraints.txt has moved. Run the tests of the service with the new
    release. If `test_the_installed_packages_have_the_private_names_that_are_used` fails, mend
    service/http/wire, or service/watch/metrics.py, first. Then
    raise the upper bound in pyproject.toml to the next minor release.
    """
    pins = (ROOT / "constraints.txt").read_text().replace("_", "-")
    tried = re.search(rf"^{package}==(\d+)\.(\d+)\.", pins, re.M)
    bound = re.search(rf'"{package}>=[\d.]+,<(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert tried is not None and bound is not None
    major, minor = map(int, tried.groups())
    wanted = f"{package} must be <{major}.{minor + 1}: {major}.{minor} is what was tried"
    assert tuple(map(int, bound.groups())) == (major, minor + 1), wanted
