"""drawing -> Figure: inline SVG whose text stays text and whose colours are the page's.

matplotlib draws in stand-in colours, which become CSS variables, so that one picture serves light
and dark pages. Names of columns come from data: they are escaped, and never read as mathematics.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.markers import TICKDOWN, TICKLEFT
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

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
STYLES = ("--", "-.", ":", (0, (1, 1, 4, 1)))  # of lines
WIDE, HIGH = 4.8, 3.1  # inches: at a phone's width its text is still as large as small print
LEFT, RIGHT, TOP, BOTTOM = 0.82, 0.28, 0.12, 0.52  # margins in inches: measuring would take longer
LETTER = 0.08  # inches, of a name beside an axis
LONGEST_NAME = 22
MOST_NAMES = 24  # of columns, beside an axis
ROW = 0.19  # inches that a row of names takes
STRONG = 2.0  # deviations, or a log ratio, that get the deepest colour
LEVELS = (0.15, 0.35, 0.6, 0.9)  # of opacity, for what a cell holds

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """title: what it shows. read: how to read it. alt: what it shows, in words."""

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
    """Draw one plot: `on` draws on the axes that it gets, `key` is the plot's id in the page."""
    size = ((WIDE - left - RIGHT) / WIDE, (high - top - BOTTOM) / high)
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": key}):
        canvas = Canvas(figsize=(WIDE, high))
        FigureCanvasSVG(canvas)
        ax = canvas.add_axes((left / WIDE, BOTTOM / high, *size))
        on(ax)
        _mark_minor(ax)
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(key, title, read, alt, _inline(buffer.getvalue(), key, title, alt))


def _mark_minor(ax: Axes) -> None:
    """Draw the minor ticks of each axis as the marks of one line.

    matplotlib makes five objects for each tick, which took a third of the time of these plots.
    """
    for axis, marker, place in (
        (ax.xaxis, TICKDOWN, ax.get_xaxis_transform()),
        (ax.yaxis, TICKLEFT, ax.get_yaxis_transform()),
    ):
        at = np.asarray(axis.get_minorticklocs())
        low, high = sorted(axis.get_view_interval())
        at = at[(at >= low) & (at <= high)]
        axis.set_minor_locator(NullLocator())
        ends = (at, np.zeros_like(at)) if axis is ax.xaxis else (np.zeros_like(at), at)
        marks: Any = {"marker": marker, "markersize": 2, "markeredgewidth": 0.6}
        line = Line2D(*ends, color=MUTED, linestyle="none", zorder=0.5, **marks)
        ax.add_artist(line).set(transform=place, clip_on=False)


def _inline(svg: str, key: str, title: str, alt: str) -> Markup:
    """Strip the SVG of what only a file needs, and add a name and a description."""
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
    """Label powers of ten as plain numbers; matplotlib would write them as mathematics."""
    if x:
        ax.set_xscale("log")
    if y:
        ax.set_yscale("log")
    for axis in [*([ax.xaxis] if x else []), *([ax.yaxis] if y else [])]:
        axis.set_major_locator(LogLocator(subs=(1.0,), numticks=6))
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())


def room_for(names: Sequence[str]) -> float:
    """Return the left margin that names take, in inches."""
    return 0.22 + LETTER * max((len(short(name)) for name in names), default=0)


def short(name: str) -> str:
    """Shorten a column's name so that it fits beside an axis."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"


def bin_edges(scores: Floats, bins: int) -> Floats:
    """Return (bins + 1,) edges, even on a logarithmic scale if all scores are positive."""
    low, high = float(scores.min()), float(scores.max())
    if low <= 0 or low == high:
        return np.linspace(low, high if high > low else low + 1, bins + 1)
    return np.geomspace(low, high, bins + 1)


def cells(ax: Axes, values: NDArray[np.float64]) -> None:
    """Draw (rows, columns) values from -1 to 1 as cells: orange below 0, blue above 0."""
    edges = (0.05, *[(a + b) / 2 for a, b in zip(LEVELS, LEVELS[1:], strict=False)], np.inf)
    for colour, signed in ((BLUE, values), (ORANGE, -values)):
        for level, low, high in zip(LEVELS, edges, edges[1:], strict=False):
            at = np.argwhere((signed >= low) & (signed < high))
            patches = [Rectangle((x - 0.47, y - 0.47), 0.94, 0.94) for y, x in at]
            ax.add_collection(PatchCollection(patches, color=colour, alpha=level, linewidths=0))
    ax.set_xlim(-0.5, values.shape[1] - 0.5)
    ax.grid(False)


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(np.arange(len(names)), [short(name) for name in names], color=INK)
    ax.set_ylim(len(names) - 0.4, -0.6)
