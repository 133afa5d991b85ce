"""The files of the console's page, which hold no data and need no key."""

from __future__ import annotations

STYLES = ("console.css", "work.css")
SCRIPTS = (
    *("console.js", "courses.js", "recalibrate.js", "incidents.js", "incident.js", "mark.js"),
    *("changes.js", "precision.js"),
)
