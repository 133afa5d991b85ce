"""The rules of the house: who may import whom, and what each module says of itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from vaewatch.training.streams import Stream

ROOT = Path(__file__).parents[2]
ROOMS = ("scoring", "training", "batch", "service")
PACKAGE = ROOT / "src" / "vaewatch"
MODULES = sorted(
    [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    + [path for path in PACKAGE.rglob("*.py") if path.resolve().is_relative_to(PACKAGE)]
)
SOURCES = [path for path in MODULES if path.name != "__init__.py" or path.stat().st_size]
EVERYTHING = sorted(
    [*MODULES, *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    + [ROOT / "demo.py", *(ROOT / "deploy").rglob("*.py")]
)
MAY_IMPORT = {room: {room, "scoring"} for room in ROOMS}
HEAVY = {"torch", "sklearn", "pandas", "scipy", "onnx", "matplotlib"}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports_of(path: Path, *, top_only: bool = False) -> tuple[str, ...]:
    tree, found = tree_of(path), list[str]()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return tuple(found)


def name_of(path: Path) -> str:
    """As it is imported: the folders of `src` and the rooms are those of `vaewatch`."""
    inside = path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT)
    return ".".join(["vaewatch", *inside.with_suffix("").parts]).removesuffix(".__init__")


def room_of(path: Path) -> str:
    return name_of(path).split(".")[1] if "." in name_of(path) else ""


# All modules in one test of each rule: pytest takes longer for a test than a rule for a module.
def test_nothing_imports_a_room_by_a_bare_name():
    """It would be a second copy of the module, with classes of its own."""
    tops = {path: {module.split(".")[0] for module in imports_of(path)} for path in EVERYTHING}
    assert [str(path.relative_to(ROOT)) for path in EVERYTHING if tops[path] & set(ROOMS)] == []


def goes_upwards(room: str, module: str) -> bool:
    """Whether a module of a room may not import this one."""
    top, _, rest = module.partition(".")
    if top == "vaewatch" and room in ROOMS:
        return rest.split(".")[0] not in MAY_IMPORT[room]
    return room != "training" and top in HEAVY


def test_rooms_import_only_downwards():
    imports = [(path, module) for path in MODULES for module in imports_of(path)]
    broken = [(path, module) for path, module in imports if goes_upwards(room_of(path), module)]
    assert [f"{name_of(path)} imports {module}" for path, module in broken] == []


def test_files_are_imported_not_the_doors_of_packages():
    doors = {"vaewatch", *(f"vaewatch.{room}" for room in ROOMS)}
    assert [name_of(path) for path in MODULES if set(imports_of(path)) & doors] == []


def reached_from(name: str, graph: dict[str, set[str]]) -> set[str]:
    """Return all that a module imports, and all that those import; itself only in a cycle."""
    reached, ahead = set[str](), [name]
    while ahead:
        found = (graph[ahead.pop()] & graph.keys()) - reached
        reached |= found
        ahead += found
    return reached


def cycles_of(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the strongly connected components of more than a module, or of one with itself."""
    below = {name: reached_from(name, graph) for name in graph}
    return {
        frozenset(other for other in below[name] if name in below[other])
        for name in graph
        if name in below[name]
    }


def test_there_is_no_import_cycle():
    """Imports inside functions and under TYPE_CHECKING count: a reader meets them as well."""
    cycles = cycles_of({name_of(path): set(imports_of(path)) for path in SOURCES})
    assert not cycles, "; ".join(", ".join(sorted(cycle)) for cycle in cycles)


def test_a_cycle_is_found_however_long():
    graph = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": set(), "f": {"f", "e"}}
    assert cycles_of(graph) == {frozenset("abc"), frozenset("f")}


def test_only_commands_know_the_terminal():
    for path in MODULES:
        known = {module.split(".")[0] for module in imports_of(path)} & {"click", "rich"}
        allowed = name_of(path) == "vaewatch.__main__" or room_of(path) == "commands"
        assert allowed or not known, f"{name_of(path)} imports {', '.join(sorted(known))}"


COMPOSITIONS = {"vaewatch.training.train": {"vaewatch.commands.train"}}


@pytest.mark.parametrize("composition", COMPOSITIONS)
def test_nothing_imports_the_composition_above_it(composition: str):
    """`vaewatch.train` reaches it by name when it is called."""
    importers = {name_of(path) for path in SOURCES if composition in imports_of(path)}
    assert importers == COMPOSITIONS[composition]


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=lambda p: p.name)
def test_a_folder_holds_no_more_files_than_a_newcomer_takes_in(folder: Path):
    files = sorted(path.name for path in SOURCES if path.parent == folder)
    assert len(files) <= 15, f"{folder.name} holds {len(files)}: {', '.join(files)}"


def words_of(node: ast.AST) -> str:
    """The names that an expression is made of."""
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return " ".join([*names, *(n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute))])


def test_p_values_are_compared_with_alpha_in_one_place():
    decisions = set()
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Compare):
                sides = [words_of(side) for side in (node.left, *node.comparators)]
                if any("p_value" in s for s in sides) and any("alpha" in s for s in sides):
                    decisions.add(name_of(path))
    assert decisions == {"vaewatch.scoring.budget.calibration"}


def test_random_streams_have_names():
    """A number that stands beside a seed elsewhere could be one that is already taken."""
    numbers = [stream.value for stream in Stream.__members__.values()]
    assert len(set(numbers)) == len(numbers)
    for path in (ROOT / "training").rglob("*.py"):
        if path.name != "streams.py":
            assert "default_rng([" not in path.read_text(), name_of(path)


DOORS = ("vaewatch.training.train", "vaewatch.training.detector", "vaewatch.commands.report")


def imported_with(door: str) -> set[str]:
    """All that is imported when a module is, with what that imports, and so on."""
    graph = {name_of(p): {m for m in imports_of(p, top_only=True)} for p in SOURCES}
    reached, ahead = set[str](), [door]
    while ahead:
        name = ahead.pop()
        reached.add(name)
        ahead += graph.get(name, set()) - reached
    return reached


@pytest.mark.parametrize("door", DOORS)
def test_plots_are_imported_only_where_a_page_is_made(door: str):
    reached = imported_with(door)
    assert "numpy" in reached or door == "vaewatch.commands.report"
    assert not [name for name in reached if name.split(".")[0] in ("matplotlib", "jinja2")]


def test_a_fit_imports_no_library_that_it_does_not_use():
    reached = {name.split(".")[0] for name in imported_with("vaewatch.training.train")}
    assert "torch" in reached
    assert not reached & {"scipy", "sklearn", "pandas", "matplotlib"}


def test_each_module_opens_with_a_docstring():
    assert [name_of(path) for path in SOURCES if not ast.get_docstring(tree_of(path))] == []


def test_no_module_is_longer_than_a_newcomer_reads():
    lines = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert [f"{name} has {n}" for name, n in lines.items() if n > 320] == []


@pytest.mark.parametrize(
    "module", ["vaewatch", *(name_of(p) for p in (PACKAGE / "commands").glob("*.py"))]
)
def test_the_doors_import_nothing_heavy(module: str):
    heavy = sorted(HEAVY | {"numpy", "polars", "onnxruntime", "fastapi"})
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
