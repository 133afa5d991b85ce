"""deploy/prometheus/rules.yml -> the PrometheusRule of the Prometheus operator.

    python deploy/kubernetes/prometheus_rule.py
    python deploy/kubernetes/prometheus_rule.py --runbook https://wiki.example.com/vaewatch

The rules are written once, in rules.yml; a test holds the two together. --runbook: the page on
which your readers find RUNBOOK.md; it goes into rules.yml and its cases, and so into the rest.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

PROMETHEUS = Path(__file__).parents[1] / "prometheus"
RULES = PROMETHEUS / "rules.yml"
TARGET = Path(__file__).parent / "monitoring" / "prometheus-rule.yaml"
HEAD = """\
# Made by prometheus_rule.py from deploy/prometheus/rules.yml: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: vaewatch
spec:
"""


def prometheus_rule(rules: str) -> str:
    """The rules as they are written, two spaces further in; a blank line stays blank."""
    lines = (f"  {line}" if line else "" for line in rules.splitlines())
    return HEAD + "\n".join(lines) + "\n"


def with_runbook(text: str, page: str) -> str:
    """The same rules or cases, each alert leading to its section of `page`."""
    return re.sub(r"(?<=runbook_url: )\S+(?=#\w+$)", lambda _: page, text, flags=re.M)


def _page(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s#\"']+", text):
        raise argparse.ArgumentTypeError(f"must be an address without '#', got '{text}'.")
    return text


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--runbook", metavar="URL", type=_page, help="where RUNBOOK.md is read")
    page = parser.parse_args().runbook
    if page is not None:
        for path in (RULES, *sorted(PROMETHEUS.glob("rules*_test.yml"))):
            _write(path, with_runbook(path.read_text(), page))
    _write(TARGET, prometheus_rule(RULES.read_text()))


if __name__ == "__main__":
    main()
