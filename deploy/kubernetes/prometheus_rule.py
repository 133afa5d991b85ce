"""deploy/prometheus/rules.yml -> the PrometheusRule of the Prometheus operator.

    python deploy/kubernetes/prometheus_rule.py

The rules are written once, in rules.yml; a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path

RULES = Path(__file__).parents[1] / "prometheus" / "rules.yml"
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


if __name__ == "__main__":
    draft = TARGET.with_suffix(".draft")
    draft.write_text(prometheus_rule(RULES.read_text()))
    draft.rename(TARGET)
