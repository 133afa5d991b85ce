"""drawing -> inline SVG that follows the page: text stays text, colours come from its style sheet.

matplotlib draws in stand-in colours, which become CSS variables, so that one picture serves light
and dark. Names of columns come from data: they are never read as mathematics, and are escaped.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK, MUTED, GRID, SURFACE = "#010101", "#010102", "#010103", "#010104"
BLUE, ORANGE, TEAL, VIOLET = "#010105", "#010106", "#010107", "#010108"
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    SURFACE: "--surface",
    BLUE: "--blue",
    ORANGE: "--orange",
    TEAL: "--teal",
    VIOLET: "--violet",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.edgecolor": "none",
    "legend.facecolor": SURFACE,
    "legend.fontsize": 9.5,
    "legend.markerscale": 2.0,
    "lines.linewidth": 1.8,
    "path.simplify_threshold": 0.5,
}
WIDE, HIGH = 4.8, 3.1  # inches: at a phone's width its text is still as large as small print
LEFT, RIGHT, TOP, BOTTOM = 0.82, 0.28, 0.12, 0.52  # margins in inches: measuring would take longer
LETTER = 0.08  # inches, of a name beside an axis
LONGEST_NAME = 22


@dataclass(frozen=True)
class Figure:
    """title: what it shows. read: how to read it. alt: what it says, for who cannot see it."""

    key: str
    title: str
    read: str
    alt: str
    svg: Markup


def draw(
    key: str,
    title: str,
    *,
    read: str,
    alt: str,
    on: Callable[[Axes], None],
    high: float = HIGH,
    left: float = LEFT,
    top: float = TOP,
) -> Figure:
    """One plot. `on` draws on the axes that it is given; `key` names the plot in the page."""
    size = ((WIDE - left - RIGHT) / WIDE, (high - top - BOTTOM) / high)
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": key}):
        canvas = Canvas(figsize=(WIDE, high))
        FigureCanvasSVG(canvas)
        on(canvas.add_axes((left / WIDE, BOTTOM / high, *size)))
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(key, title, read, alt, _inline(buffer.getvalue(), key, title, alt))


def _inline(svg: str, key: str, title: str, alt: str) -> Markup:
    """Without what only a file needs, with a name and a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"#(\w+)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda i: i.group() if i.group(1) in used else "", svg)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    svg = re.sub(r"#01010[1-8]", lambda found: f"var({_VARIABLES[found.group()]})", svg)
    view = re.search(r'viewBox="[^"]+"', svg)
    assert view is not None
    head = (
        f'<svg {view.group()} role="img" aria-labelledby="plot-{key}-title plot-{key}-alt">'
        f'<title id="plot-{key}-title">{escape(title)}</title>'
        f'<desc id="plot-{key}-alt">{escape(alt)}</desc>'
    )
    return Markup(head + svg[svg.index(">") + 1 :])


def log_scale(ax: Axes, *, x: bool = False, y: bool = False) -> None:
    """Powers of ten as plain numbers: matplotlib would write them as mathematics."""
    if x:
        ax.set_xscale("log")
    if y:
        ax.set_yscale("log")
    for axis in [*([ax.xaxis] if x else []), *([ax.yaxis] if y else [])]:
        axis.set_major_locator(LogLocator(subs=(1.0,), numticks=6))
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())


def room_for(names: Sequence[str]) -> float:
    """The left margin that such names take."""
    return 0.22 + LETTER * max((len(short(name)) for name in names), default=0)


def short(name: str) -> str:
    """A column's name as it fits beside an axis."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"
