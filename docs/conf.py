"""How the site is built: `make docs`."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "vaewatch"
copyright = "the vaewatch authors"
version = release = installed("vaewatch")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "_ext.reference"]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3
default_role = "code"  # docstrings put names between single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True

# Nothing is fetched while the site is built, so names of other libraries are not links; nor are
# the types inside the house that stand in a public signature.
nitpick_ignore_regex = [("py:.*", r"(?!vaewatch).*"), ("py:class", r"vaewatch\.\w+\..*")]
suppress_warnings = ["misc.highlighting_failure"]  # Pygments knows no colon in a PromQL name

html_theme = "furo"
html_title = "vaewatch"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "default"
pygments_dark_style = "github-dark"
