"""a Prometheus that watched a shop -> the README's picture: the dashboard's panels, drawn.

    python -m benchmarks.dashboard

Starts a service with a shadow, a Prometheus with the deployed rules and traffic: normal, then an
attack, normal again, then drift. In rules and queries a minute is a second. Every panel of
deploy/grafana/dashboard.json is drawn from its own queries. Needs matplotlib.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.conftest import SMALL, make_frame
from tests.deploy.dashboard import DASHBOARD, queries
from tests.deploy.prometheus import Prometheus
from tests.deploy.watching import FASTER, attack, drift, normal, watched
from vaewatch.training.train import train

PICTURE = Path("docs/dashboard.png")
ACTS = ((normal, 30), (attack, 6), (normal, 24), (drift, 40))  # seconds
UNIT = 0.3  # inches of one of the dashboard's 24 columns
INK, FAINT = "#24292f", "#d0d7de"
COLOURS = {"green": "#2da44e", "orange": "#e3892b", "red": "#cf222e", "blue": "#4a7ebb"}
LINES = ("#4a7ebb", "#e3892b", "#2da44e", "#8250df", "#cf222e", "#57606a", "#1b9aaa", "#bf3989")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {**SMALL, "alpha": 0.01, "id": "order", "segment": "country"}
        train(make_frame(20_000), folder / "shop", **settings)
        with watched(folder / "shop", folder) as shop:
            began = time.time()
            for kind, seconds in ACTS:
                shop.traffic.kind = kind
                time.sleep(seconds)
            figure = draw(shop.prometheus, began, time.time())
    words.out.parent.mkdir(exist_ok=True)
    figure.savefig(words.out, dpi=80, facecolor="#f6f8fa")


def draw(server: Prometheus, start: float, end: float) -> Figure:
    """Draw every panel in its place."""
    pyplot.rcParams.update({"font.size": 7, "axes.edgecolor": FAINT, "text.color": INK})
    high = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in DASHBOARD["panels"])
    figure = pyplot.figure(figsize=(24 * UNIT * 2, high * UNIT))
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / 24, 1 - place["y"] / high
        if panel["type"] == "row":
            figure.text(left + 0.004, top - 0.9 / high, panel["title"], size=11, weight="bold")
            continue
        box = (left + 0.002, top - place["h"] / high, place["w"] / 24 - 0.004, place["h"] / high)
        frame = figure.add_axes((box[0], box[1] + 0.15 / high, box[2], box[3] - 0.3 / high))
        frame.set(xticks=[], yticks=[])
        figure.text(
            left + 0.006, top - 0.85 / high, panel["title"], size=8, weight="bold", zorder=5
        )
        names = 0.066 if panel["type"] == "bargauge" else 0.0  # room for words on the left
        width = box[2] - 0.042 - names
        inner = (left + 0.034 + names, box[1] + 2.0 / high, width, box[3] - 3.4 / high)
        axes = figure.add_axes(inner)
        axes.spines[["top", "right"]].set_visible(False)
        DRAWN[panel["type"]](axes, panel, server, start, end)
    return figure


def series_of(
    panel: dict[str, Any], server: Prometheus, start: float, end: float
) -> list[tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Return (name, minutes, values) of each line."""
    found = []
    for query in queries(panel, faster=FASTER, seconds=round(end - start)):
        for one in server.over(query.expr, start, end, 0.5):
            at, values = np.array(one["values"], dtype=float).T
            found.append((_named(query.legend, one["metric"]), at - start, values))
    return found


def latest(panel: dict[str, Any], server: Prometheus, end: float) -> list[tuple[str, float]]:
    found = []
    for query in queries(panel, faster=FASTER, seconds=100):
        for one in server.now(query.expr):
            found.append((_named(query.legend, one["metric"]), float(one["value"][1])))
    return sorted(found, key=lambda pair: pair[1])


def _named(legend: str, labels: dict[str, str]) -> str:
    for key, value in labels.items():
        legend = legend.replace("{{" + key + "}}", value)
    return legend


def _colour(panel: dict[str, Any], value: float) -> str:
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [s["color"] for s in steps if s["value"] is None or value >= s["value"]]
    return COLOURS[reached[-1]]


def shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.1%}"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.2g}"


def draw_stat(
    axes: Axes, panel: dict[str, Any], server: Prometheus, start: float, end: float
) -> None:
    axes.axis("off")
    values = latest(panel, server, end)
    if values:
        value, unit = values[-1][1], panel["fieldConfig"]["defaults"]["unit"]
        box = {"boxstyle": "round,pad=0.5", "fc": _colour(panel, value), "ec": "none"}
        text = shown(value, unit)
        axes.text(0.4, 0.7, text, size=17, color="white", ha="center", va="center", bbox=box)
        axes.text(0.4, -0.1, values[-1][0], ha="center", va="center")


def draw_lines(
    axes: Axes, panel: dict[str, Any], server: Prometheus, start: float, end: float
) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    for i, (name, at, values) in enumerate(series_of(panel, server, start, end)):
        axes.plot(at, values, color=LINES[i % len(LINES)], linewidth=1.3, label=name)
    for step in defaults["thresholds"]["steps"][1:]:
        low, high = axes.get_ylim()
        if step["value"] < max(high, 1.2 * step["value"] if high > step["value"] / 4 else 0):
            axes.axhline(step["value"], color=COLOURS[step["color"]], linestyle="--", linewidth=1)
    if defaults.get("min") == 0:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(pyplot.MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda v, _: shown(v, defaults["unit"]))
    _time(axes, start, end)
    handles, names = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            handles[:8], names[:8], loc="upper left", bbox_to_anchor=(-0.03, -0.14),
            ncols=6, frameon=False, fontsize=6, columnspacing=1, handlelength=1,
        )  # fmt: skip


def draw_bars(
    axes: Axes, panel: dict[str, Any], server: Prometheus, start: float, end: float
) -> None:
    values = latest(panel, server, end)
    names, lengths = [name for name, _ in values], [value for _, value in values]
    axes.barh(names, lengths, color=[_colour(panel, v) for v in lengths], height=0.6)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for i, value in enumerate(lengths):
        axes.text(value, i, " " + shown(value, unit), va="center", size=7)
    axes.spines["bottom"].set_visible(False)
    axes.set(xticks=[], xlim=(0, 1.15 * max(lengths, default=1) or 1))


def draw_heatmap(
    axes: Axes, panel: dict[str, Any], server: Prometheus, start: float, end: float
) -> None:
    lines = series_of(panel, server, start, end)
    lines.sort(key=lambda line: float(line[0].replace("+Inf", "inf")))
    grid = np.arange(start, end, 0.5) - start
    below = np.array([np.interp(grid, at, values, left=0) for _, at, values in lines])
    counts = np.diff(below, axis=0, prepend=0)
    axes.pcolormesh(grid, np.arange(len(lines)) + 0.5, np.log1p(counts), cmap="Oranges")
    axes.set_yticks(np.arange(len(lines)) + 1.0, [name for name, _, _ in lines])
    _time(axes, start, end)


def draw_states(
    axes: Axes, panel: dict[str, Any], server: Prometheus, start: float, end: float
) -> None:
    lines = series_of(panel, server, start, end)
    for i, (name, at, _) in enumerate(lines):
        axes.barh(i, at[-1] - at[0], left=at[0], color=LINES[i % len(LINES)], height=0.5)
        axes.text(at[0] + 1, i, name, color="white", va="center")
    axes.set(ylim=(-1, len(lines)), yticks=[])
    _time(axes, start, end)


def _time(axes: Axes, start: float, end: float) -> None:
    """Serve the rules with seconds in place of minutes."""
    axes.set_xlim(0, end - start)
    ticks = range(0, int(end - start), 20)
    axes.set_xticks(ticks, [f"{minutes} min" for minutes in ticks])
    axes.tick_params(colors="#57606a", length=2)
    axes.grid(color="#eaeef2", linewidth=0.6)
    axes.set_axisbelow(True)


DRAWN = {
    "stat": draw_stat,
    "timeseries": draw_lines,
    "bargauge": draw_bars,
    "heatmap": draw_heatmap,
    "state-timeline": draw_states,
}

if __name__ == "__main__":
    main()
