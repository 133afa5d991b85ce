"""a replay -> a plot of its alarms by hour, as SVG or PNG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from vaewatch.batch.replay.outcome import Replay
from vaewatch.batch.replay.timeline import moment
from vaewatch.batch.writer import write_small

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 960, 320, 60, 940, 40, 280
COLOURS = ("#d1495b", "#00798c", "#edae49", "#66506b", "#2e4057")
SIZE = 11  # of the letters
PIXELS = 2  # of a PNG, for each unit of an SVG
ANCHORS = {"start": "ls", "end": "rs"}  # Pillow's names: left or right, on the baseline


@dataclass(frozen=True)
class Text:
    """A text; `anchor` says whether its start or its end is at x."""

    x: float
    y: float
    words: str
    anchor: str = "start"
    colour: str = "#333333"


@dataclass(frozen=True)
class Line:
    """A line from point to point."""

    points: tuple[tuple[float, float], ...]
    colour: str


Shape = Text | Line


def write_plot(replay: Replay, target: Path) -> None:
    """Draw a replay as PNG or SVG, by the ending of the target's name."""
    shapes = shapes_of(replay)
    png = target.suffix.lower() == ".png"
    write_small(str(target), png_of(shapes) if png else svg_of(shapes).encode())


def shapes_of(replay: Replay) -> list[Shape]:
    """A line for each alpha, with a point for each hour that has records."""
    hours = replay.hours
    if not len(hours.starts):
        return [Text(LEFT, HEIGHT / 2, "no record has a time")]
    first, last = int(hours.starts[0]), int(hours.starts[-1])
    most = max(int(hours.alarms.max(initial=0)), 1)
    x = LEFT + (hours.starts - first) / max(last - first, 1) * (RIGHT - LEFT)
    y = BOTTOM - hours.alarms / most * (BOTTOM - TOP)
    shapes: list[Shape] = [
        Text(LEFT, HEIGHT - 15, f"{moment(first):%Y-%m-%d %H:%M} UTC"),
        Text(RIGHT, HEIGHT - 15, f"{moment(last):%Y-%m-%d %H:%M} UTC", "end"),
        Text(LEFT - 8, TOP + 4, f"{most:,}", "end"),
        Text(LEFT - 8, BOTTOM, "0", "end"),
        Line(((LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)), "#888888"),
    ]
    for i, alpha in enumerate(replay.alphas):
        colour = COLOURS[i % len(COLOURS)]
        points = zip(x.tolist(), np.asarray(y)[:, i].tolist(), strict=True)
        shapes.append(Line(tuple(points), colour))
        words = f"alarms an hour, alpha {alpha:g}"
        shapes.append(Text(LEFT + 180 * i, 20, words, colour=colour))
    return shapes


def svg_of(shapes: list[Shape]) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' "
        f"font-family='sans-serif' font-size='{SIZE}'>{''.join(map(_element, shapes))}</svg>\n"
    )


def _element(shape: Shape) -> str:
    if isinstance(shape, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        return f"<polyline points='{points}' stroke='{shape.colour}' fill='none'/>"
    return (
        f"<text x='{shape.x}' y='{shape.y}' text-anchor='{shape.anchor}' fill='{shape.colour}'>"
        f"{escape(shape.words)}</text>"
    )


def png_of(shapes: list[Shape]) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (WIDTH * PIXELS, HEIGHT * PIXELS), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(SIZE * PIXELS)
    for shape in shapes:
        if isinstance(shape, Line):
            points = [(x * PIXELS, y * PIXELS) for x, y in shape.points]
            draw.line(points, shape.colour, PIXELS, joint="curve")
        else:
            place, anchor = (shape.x * PIXELS, shape.y * PIXELS), ANCHORS[shape.anchor]
            draw.text(place, shape.words, shape.colour, font, anchor)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
