"""Files of the repository -> pages: read where they are kept, with links that work in the site."""

from __future__ import annotations

import os
import re
from pathlib import Path

from _ext.running import ROOT

# file of the repository -> its page here
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "project/security.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "benchmarks/RESULTS.md": "project/results.md",
    "deploy/README.md": "guides/deploy.md",
    "deploy/RUNBOOK.md": "guides/runbook.md",
}
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")


def file_page(name: str) -> str:
    """The text of a file; what it links to is a page of the site, or else only named."""
    here = Path(name).parent
    page = Path(PAGES[name]).parent

    def rewritten(link: re.Match[str]) -> str:
        text, target = link["text"], link["target"]
        if re.match(r"(https?:|mailto:|#)", target):
            return link[0]
        path, _, anchor = target.partition("#")
        wanted = os.path.normpath(here / path)
        if wanted in PAGES:
            return f"[{text}]({os.path.relpath(PAGES[wanted], page)}{'#' * bool(anchor)}{anchor})"
        if wanted.startswith("docs/") and wanted.endswith(".md"):
            inside = os.path.relpath(wanted.removeprefix("docs/"), page)
            return f"[{text}]({inside}{'#' * bool(anchor)}{anchor})"
        return text if "`" in text else f"{text} (`{wanted}`)"

    return LINK.sub(rewritten, (ROOT / name).read_text())
