"""The README is short, and leads to what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
WRITTEN = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md")]
)


def test_the_readme_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 150


def test_the_readme_has_the_guides_in_the_order_of_the_site():
    elsewhere = {"deploy/README.md": "guides/deploy", "deploy/RUNBOOK.md": "guides/runbook"}
    guides = README.split("- **Guides**")[1].split("- **Reference**")[0]
    links = re.findall(r"\]\(([^)#]+)\)", guides)
    named = [elsewhere.get(link) or link.removeprefix("docs/")[: -len(".md")] for link in links]
    index = (ROOT / "docs" / "index.md").read_text()
    assert named == re.findall(r"^guides/[\w-]+$", index, re.M)


def test_each_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = [
        (path, one or other)
        for path in WRITTEN
        for one, other in re.findall(r"`make ([a-z-]+)|^\$ make ([a-z-]+)", path.read_text(), re.M)
    ]
    assert named and [(path, target) for path, target in named if target not in targets] == []


def test_files_that_a_page_links_to_exist():
    form = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
    links = [(path, link) for path in WRITTEN for link in form.findall(path.read_text())]
    assert len(links) > len(WRITTEN)
    assert [(path, link) for path, link in links if not (path.parent / link).exists()] == []


def test_the_readme_shows_what_it_is_about():
    for picture in ("scores.svg", "console.png", "dashboard.png"):
        assert f"](docs/{picture})" in README


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_project_speaks_of_itself_alone(path: Path):
    assert "../shared" not in path.read_text() and "/work/" not in path.read_text()


def test_the_house_that_contributing_draws_is_the_house():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawing = text.split("```")[1]
    above, drawn = "", set[str]()
    for indent, name in re.findall(r"^( *)([\w/]+/) ", drawing, re.M):
        above = above if indent else name
        drawn.add(above + name if indent else name)
        assert (ROOT / above / name if indent else ROOT / name).is_dir(), name
    rooms = ("scoring", "training", "batch", "service", "src/vaewatch/commands")
    kept = {f"{path.relative_to(ROOT)}/" for room in rooms for path in (ROOT / room).rglob("*/")}
    assert {name for name in kept if "__pycache__" not in name} <= drawn
    for path in re.findall(r"`([\w/]+\.py)`", text):
        assert (ROOT / path).is_file(), path
