"""Markers in pages -> the reference, generated from the code while the site is built.

A page holds `<!-- generated: NAME -->` where a generator's Markdown goes, so that the reference
cannot drift from what it describes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from _ext.artifact import artifact_files, manifest_members
from _ext.calibration import calibration_table
from _ext.commands import command_reference, command_summary
from _ext.mathematics import set_up_mathematics
from _ext.metrics import job_metrics, service_metrics
from _ext.python_names import python_answers, python_classes, python_errors, python_functions
from _ext.repository import PAGES, file_page
from _ext.routes import error_reference, route_reference, schema_reference
from _ext.settings import service_settings, training_settings

MARKER = re.compile(r"^<!-- generated: (?P<name>\S+) -->$", re.M)
GENERATORS: Mapping[str, Callable[[], str]] = {
    "commands": command_reference,
    "command-summary": command_summary,
    "training-settings": training_settings,
    "service-settings": service_settings,
    "service-metrics": service_metrics,
    "job-metrics": job_metrics,
    "routes": route_reference,
    "errors": error_reference,
    "schemas": schema_reference,
    "calibration-table": calibration_table,
    "artifact-files": artifact_files,
    "manifest": manifest_members,
    "python-functions": python_functions,
    "python-classes": python_classes,
    "python-answers": python_answers,
    "python-errors": python_errors,
}


@cache
def generated(name: str) -> str:
    """The Markdown of a generator, or of a file of the repository."""
    return file_page(name) if name in PAGES else GENERATORS[name]()


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what is generated in the place of its markers."""
    source[0] = MARKER.sub(lambda marker: generated(marker["name"]), source[0])


def setup(app: Sphinx) -> ExtensionMetadata:
    """Called by Sphinx."""
    app.connect("source-read", fill)
    app.add_object_type("metric", "metric", objname="metric", indextemplate="pair: %s; metric")
    app.add_object_type("route", "route", objname="route", indextemplate="pair: %s; route")
    set_up_mathematics(app)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
