"""demo-output -> the README's picture: the scores of both kinds of biopsies.

    make demo && python -m benchmarks.picture

matplotlib comes with the `train` extra.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "vaewatch", "font.family": "sans-serif"})

from matplotlib import pyplot  # noqa: E402 - after the backend is chosen

DEMO = Path("demo-output")
PICTURE = Path("docs/scores.svg")
GREEN, RED, INK = "#2a9d8f", "#e76f51", "#333333"


def main() -> None:
    scored = pd.read_csv(DEMO / "scored.csv")
    kind = pd.read_csv(DEMO / "labelled.csv")["diagnosis"]
    manifest = json.loads((DEMO / "artifact" / "manifest.json").read_text())
    threshold = manifest["calibration"]["thresholds"][f"{manifest['alpha']:g}"]
    scores = scored["anomaly_score"]
    bins = np.geomspace(scores.min(), scores.max(), 40)
    figure, axes = pyplot.subplots(figsize=(8, 3))
    for name, colour in (("benign", GREEN), ("malignant", RED)):
        axes.hist(scores[kind == name], bins, color=colour, alpha=0.75, label=f"{name}, unseen")
    axes.axvline(threshold, color=INK, linestyle="--", linewidth=1)
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the note above the bars
    note = f" alarm from here: one false\n alarm in {1 / manifest['alpha']:.0f} asked for"
    axes.annotate(note, (threshold, axes.get_ylim()[1] * 0.86), color=INK, fontsize=9)
    axes.set(xscale="log", xlabel="score, nats", ylabel="biopsies")
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
