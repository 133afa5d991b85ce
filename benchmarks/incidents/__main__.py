"""Incidents beside labels, and those of chance -> tables.

    python -m benchmarks.incidents chance [--seeds 3]
    python -m benchmarks.incidents attacks DATA
    python -m benchmarks.incidents overlap DATA [--only WORD,WORD] [--every N] [--seeds 3]
    python -m benchmarks.incidents series DATA

chance: normal records alone, with p-values of an ideal calibration: how many of the incidents
have a chance of at most c? attacks: DATA holds NSL-KDD's normal.csv and labelled.csv (with
`attack`): 24 hours of normal records, one a second, then each kind of attack in a burst of its
own, a quarter of an hour apart, in the same traffic. overlap: DATA holds `nsl-kdd`, and folders
`adbench` and `oddbench` of .npz files: one to three attacks at the same time, by each rule of what
joins two alarms. series: DATA holds train.parquet and
test.parquet with `time`, `entity` and `label`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.incidents.chance import chance
from benchmarks.incidents.choosing import Asked, overlaps
from benchmarks.incidents.labelled import attacks, series
from benchmarks.results import write_section


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["chance", "attacks", "overlap", "series"])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="sets whose names have one of these words")
    parser.add_argument("--every", type=int, default=1, help="of the sets, take each n-th")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "RESULTS.md")
    words = parser.parse_args()
    if words.what == "chance":
        title, lines = "Incidents of normal records", chance(words.seeds)
    elif words.what == "attacks":
        title, lines = "Incidents and labelled attacks (NSL-KDD)", attacks(words.data)
    elif words.what == "overlap":
        asked = Asked(words.data, words.only.split(","), words.every, words.seeds)
        title, lines = "Incidents and attacks at the same time", overlaps(asked.found())
    else:
        title, lines = f"Incidents and labelled events ({words.data.name})", series(words.data)
    write_section(words.out, "Watching", title, "\n".join(lines))


if __name__ == "__main__":
    main()
