"""deploy/README.md: its commands exist, its figures were measured, its sums are right."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.deployed import DEPLOY, ROOT, settings_of
from tests.deploy.test_deploy_kubernetes import BUILDS
from vaewatch.__main__ import COMMANDS

README = (DEPLOY / "README.md").read_text()
RESULTS = (ROOT / "benchmarks" / "RESULTS.md").read_text()
LOAD = 0.7  # of a core


def commands() -> Iterator[list[str]]:
    """Each simple command of the console blocks."""
    for block in re.findall(r"```console\n(.*?)```", README, re.S):
        for line in re.findall(r"^\$ (.*)$", block, re.M):
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("|&;"):
                    yield words
                    words = []
                else:
                    words.append(word)


def rows(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line starts so."""
    table = text[text.index(f"| {head}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_each_vaewatch_command_is_one_that_it_has():
    seen = set()
    for words in commands():
        for at, word in enumerate(words[:-1]):
            program = re.sub(r":.*", "", Path(word).name)
            if program == "vaewatch" and words[at + 1] in COMMANDS:
                settings_of(words[at + 1 :])
                seen.add(words[at + 1])
    assert seen == {"train", "score"}
    for inline in re.findall(r"`vaewatch (score [^`]*I/N|score artifact [^`]*)`", README):
        settings_of(["score", "artifact", *inline.replace("I/N", "0/2").split()[1:]])


def test_each_file_and_overlay_that_a_command_names_exists():
    named = [word for words in commands() for word in words if word.startswith("deploy/")]
    assert len(named) > 5
    for word in named:
        assert (ROOT / word).exists(), word
    applied = re.findall(r"apply -k deploy/kubernetes/(\S+)", README)
    assert applied and set(applied) <= set(BUILDS)


def test_each_link_leads_somewhere():
    anchors = {re.sub(r"[^a-z -]", "", h.lower()).replace(" ", "-") for h in headings()}
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert links
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        else:
            assert (DEPLOY / link).exists(), link


def headings() -> list[str]:
    return re.findall(r"^#+ (.*)$", README, re.M)


def test_each_setting_that_it_names_is_one_of_the_service():
    known = {f"--{name.replace('_', '-')}" for name in settings_of(["serve", "a"])}
    for flag in ("--max-pending-bytes", "--workers"):
        assert flag in README and flag in known
    assert "--no-access-log" in README and settings_of(["serve", "a", "--no-access-log"])


def test_the_figures_were_measured():
    *measured, whole = rows(RESULTS, "records a request")
    *requests, file = rows(README, "records per request")
    assert [numbers_of(row) for row in requests] == [
        (size, rate, most) for size, _, rate, _, most in map(numbers_of, measured)
    ]
    assert numbers_of(file) == numbers_of(whole)[1:]


def numbers_of(cells: list[str]) -> tuple[float, ...]:
    found = (re.search(r"[\d,]+", cell) for cell in cells)
    return tuple(float(m.group().replace(",", "")) for m in found if m)


@pytest.mark.parametrize("column", [1, 2, 3, 4])
def test_the_number_of_workers_follows_from_the_figures(column: int):
    rate = [cells[1] for cells in map(numbers_of, rows(README, "records per request"))][column - 1]
    for row in rows(README, "records/s | 1 per request"):
        asked, workers = numbers_of([row[0], row[column]])
        assert workers == math.ceil(asked / (rate * LOAD))


def test_the_cores_and_pods_of_the_largest_follow_too():
    file = numbers_of(rows(README, "records per request")[-1])[0]
    workers = min(numbers_of(rows(README, "records/s | 1 per request")[-1])[1:])
    assert f"{math.ceil(1e6 / (file * LOAD))} cores" in README
    assert f"in {math.ceil(workers / 4)} pods of four workers" in README
