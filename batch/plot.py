"""a replay -> a plot of its alarms by hour, as SVG."""

from __future__ import annotations

import numpy as np

from batch.replay import Replay, moment

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 960, 320, 60, 40, 40
COLOURS = ("#d1495b", "#00798c", "#edae49", "#66506b", "#2e4057")


def plot(replay: Replay) -> str:
    """A line for each alpha; one point an hour, hours without records at zero."""
    hours = replay.hours
    if not len(hours.starts):
        return _svg(["<text x='60' y='160'>no record has a time</text>"])
    first, last = int(hours.starts[0]), int(hours.starts[-1])
    most = max(int(hours.alarms.max(initial=0)), 1)
    x = LEFT + (hours.starts - first) / max(last - first, 1) * (WIDTH - LEFT - 20)
    y = HEIGHT - BOTTOM - hours.alarms / most * (HEIGHT - TOP - BOTTOM)
    parts = [
        _text(LEFT, HEIGHT - 15, f"{moment(first):%Y-%m-%d %H:%M} UTC"),
        _text(WIDTH - 20, HEIGHT - 15, f"{moment(last):%Y-%m-%d %H:%M} UTC", "end"),
        _text(LEFT - 8, TOP + 4, f"{most:,}", "end"),
        _text(LEFT - 8, HEIGHT - BOTTOM, "0", "end"),
        f"<path d='M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - 20}' stroke='#888' fill='none'/>",
    ]
    for i, alpha in enumerate(replay.alphas):
        colour = COLOURS[i % len(COLOURS)]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, np.asarray(y)[:, i], strict=True))
        parts.append(f"<polyline points='{points}' stroke='{colour}' fill='none'/>")
        parts.append(_text(LEFT + 150 * i, 20, f"alarms an hour, alpha {alpha:g}", fill=colour))
    return _svg(parts)


def _text(x: float, y: float, text: str, anchor: str = "start", fill: str = "#333") -> str:
    return f"<text x='{x}' y='{y}' text-anchor='{anchor}' fill='{fill}'>{text}</text>"


def _svg(parts: list[str]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' "
        f"font-family='sans-serif' font-size='11'>{''.join(parts)}</svg>\n"
    )
