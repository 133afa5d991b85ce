"""Run all of vaewatch once on real data: the breast cancer biopsies that ship with scikit-learn.

Benign biopsies are the normal records; malignant ones are the anomalies, which training never
sees. Each step is the command that a user would type. Run it with `make demo`.
"""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer

FOLDER = Path("demo-output")
NORMAL, LABELLED, FRESH = (FOLDER / name for name in ("normal.csv", "labelled.csv", "fresh.csv"))
ARTIFACT, SCORED = FOLDER / "artifact", FOLDER / "scored.csv"
REPORT = FOLDER / "report.html"
VAEWATCH = Path(sys.executable).with_name("vaewatch")
START_SECONDS = 30


def main() -> None:
    """Train, evaluate, report, score a file, serve, and POST two records."""
    FOLDER.mkdir(exist_ok=True)
    records = write_data()
    run("train", NORMAL, "--out", ARTIFACT, "--alpha", "0.05", "--id", "biopsy", "--overwrite")
    run("evaluate", ARTIFACT, LABELLED, "--label", "diagnosis")
    labels = ("--labelled", LABELLED, "--label", "diagnosis", "--normal", NORMAL)
    run("report", ARTIFACT, *labels, "--out", REPORT)
    run("score", ARTIFACT, FRESH, "--out", SCORED)
    show_scored()
    with service() as url:
        for name, record in records.items():
            post(url, name, record)
        show_metrics(url)
    say("\nNext, with a file of your own:")
    for words in (
        "train normal.csv --out artifact --alpha 0.01",
        "score artifact new.csv",
        "serve artifact",
    ):
        say(f"  {VAEWATCH_SHOWN} {words}")


VAEWATCH_SHOWN = ".venv/bin/vaewatch"


def write_data() -> dict[str, dict[str, float]]:
    """Write two thirds of the benign biopsies to train on and the rest to score; return one record
    of each kind to POST.
    """
    data = load_breast_cancer(as_frame=True)
    frame = data.frame.drop(columns="target")
    frame.insert(0, "biopsy", [f"b{i:03}" for i in range(len(frame))])
    benign = frame[data.target == 1].sample(frac=1, random_state=0)
    malignant = frame[data.target == 0]
    normal, held_out = benign[:238], benign[238:]
    normal.to_csv(NORMAL, index=False)
    fresh = pd.concat([held_out, malignant]).sample(frac=1, random_state=0)
    fresh.to_csv(FRESH, index=False)
    diagnosis = data.target[fresh.index].map({1: "benign", 0: "malignant"})
    fresh.assign(diagnosis=diagnosis).to_csv(LABELLED, index=False)
    pick = {"benign": held_out.iloc[0], "malignant": malignant.iloc[0]}
    return {name: row.drop("biopsy").to_dict() for name, row in pick.items()}


def run(*words: object) -> None:
    """Print a command, then run it."""
    say(f"\n$ {VAEWATCH_SHOWN} {shlex.join(map(str, words))}")
    subprocess.run([VAEWATCH, *map(str, words)], check=True)


def show_scored() -> None:
    scored = pd.read_csv(SCORED).nlargest(3, "anomaly_score")
    say("\nThe three most anomalous records of the file:")
    say(
        scored[["biopsy", "anomaly_score", "p_value", "is_anomaly", "top_reasons"]]
        .to_csv(index=False)
        .strip()
    )


@contextmanager
def service() -> Iterator[str]:
    """Run the real service on a free port, and stop it with SIGTERM as an orchestrator would."""
    say(f"\n$ {VAEWATCH_SHOWN} serve {ARTIFACT} --port 0")
    words = [VAEWATCH, "serve", ARTIFACT, "--port", "0"]
    process = subprocess.Popen(list(map(str, words)), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on " in line:
                url = line.split("listening on ")[1].split()[0]
                say(f"listening on {url}")
                yield url
                break
        else:
            sys.exit("error: the service did not start; run the command above to see why.")
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=START_SECONDS)
    say(f"service stopped, exit code {process.returncode}")


def post(url: str, name: str, record: dict[str, float]) -> None:
    say(f"\n$ curl {url}/v1/score -d '{{\"records\": [<one {name} biopsy>]}}'")
    body = json.dumps({"records": [record]}).encode()
    request = urllib.request.Request(f"{url}/v1/score", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
        say(json.dumps(json.load(answer)["results"][0], indent=1))


def show_metrics(url: str) -> None:
    say(f"\n$ curl {url}/metrics")
    with urllib.request.urlopen(f"{url}/metrics", timeout=START_SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    say("\n".join([line for line in lines if line.startswith("vaewatch_records_total")]))


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
