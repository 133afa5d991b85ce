"""The stages of `python -m benchmarks.gpu`: each finds figures, and notes each of them at once."""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.training import one_hot
from vaewatch.training.config import TrainConfig
from vaewatch.training.detector import VAEDetector
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.elbo import elbo
from vaewatch.training.vae.fit import default_latent, pick_device
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.loop import Loop
from vaewatch.training.vae.step import adamw
from vaewatch.training.vae.step.flat import Flat
from vaewatch.training.vae.step.gradient import Gradient
from vaewatch.training.vae.vae import VAE

Note = Callable[[str, object], None]
FEATURES, RECORDS = (68, 40), 200_000  # of NSL-KDD, and of 40 columns
BATCHES = (128, 512, 1024, 2048, 8192)
# batch, steps and rate whose AUROC is compared: fewer and larger steps at the same cost or less
RECIPES = ((128, 1600, 0.01), (512, 800, 0.01), (1024, 400, 0.01), (1024, 400, 0.02))
RECIPES += ((2048, 200, 0.02), (1024, 1600, 0.01))
PIECES = (1024, 4096, 16_384, 65_536, 2**30)  # weights that AdamW's kernel gets at a time
SETS = 20  # of ADBench at most
ALPHA = 0.05


@dataclass(frozen=True)
class Stage:
    """Where a stage runs, on what, and how it notes a figure."""

    device: torch.device
    small: bool
    nsl_kdd: Path | None
    adbench: Path | None
    note: Note

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def microseconds(self, run: Callable[[], object], times: int = 500) -> float:
        """Return the median of five means."""
        times = 10 if self.small else times
        for _ in range(8):
            run()
        found = []
        for _ in range(5):
            self.wait()
            started = time.perf_counter()
            for _ in range(times // 5):
                run()
            self.wait()
            found.append((time.perf_counter() - started) / (times // 5))
        return 1e6 * float(np.median(found))


def machine(stage: Stage) -> None:
    stage.note("Python, torch", f"{platform.python_version()}, {torch.__version__}")
    stage.note("cores", os.cpu_count())
    if stage.device.type == "cuda":
        stage.note("card", torch.cuda.get_device_name())
        stage.note("CUDA", torch.version.cuda)


def tests(stage: Stage) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "tests/training/test_gpu.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    stage.note("tests/training/test_gpu.py", (done.stdout.strip().splitlines() or ["none"])[-1])


def gradient(stage: Stage) -> None:
    """Compare the gradient with autograd's in double precision."""
    generator = torch.Generator().manual_seed(0)
    vae = VAE(members=8, features=68, latent=34, width=64, generator=generator)
    x, eps = (torch.randn(8, 128, d, generator=generator) for d in (68, 34))
    exact = copy.deepcopy(vae).double()
    elbo(exact, x.double(), x.double(), eps.double()).loss().backward()  # type: ignore[no-untyped-call]
    want = torch.cat([p.grad.flatten() for p in exact.parameters() if p.grad is not None])
    vae = vae.to(stage.device)
    flat = Flat.of(vae)
    for precision in ("highest", "high"):
        torch.set_float32_matmul_precision(precision)
        Gradient(vae, 1.0).write(*(t.to(stage.device) for t in (x, x, eps)))
        apart = (flat.gradients.double().cpu() - want).norm() / want.norm()
        stage.note(f"gradient's relative error, precision {precision}", float(apart))


def make_loop(stage: Stage, features: int, batch: int, **settings: int) -> Loop:
    records = 2000 if stage.small else RECORDS
    config = TrainConfig(batch=batch, steps=10_000, **settings)  # type: ignore[arg-type]
    x = np.random.default_rng(0).standard_normal((records, features), dtype=np.float32)
    vae = VAE(
        members=config.members,
        features=features,
        latent=default_latent(features),
        width=config.width,
        generator=torch.Generator().manual_seed(0),
    )
    seen = Folds.draw(records, config.members, 2, seed=0).seen()
    return Loop(vae.to(stage.device), Batches.of(x, seen, stage.device), config)


def rate(stage: Stage) -> None:
    """Time the steps: microseconds, and records x members a second."""

    def noted(what: str, loop: Loop, run: Callable[[], object]) -> None:
        spent = stage.microseconds(run)
        per_second = 1e6 * loop.config.members * loop.batch / spent
        stage.note(what, f"{spent:,.0f} us, {per_second / 1e6:.2f} M records x members/s")

    for features in FEATURES:
        for batch in BATCHES[: 1 if stage.small else None]:
            loop = make_loop(stage, features, batch)
            noted(f"{features} features, batch {batch}", loop, loop.step)
            if loop.captured and batch == BATCHES[0]:
                loop = make_loop(stage, features, batch)
                noted(f"the same, not captured ({features}, {batch})", loop, loop._step)
    for members, width in () if stage.small else ((32, 64), (8, 256), (32, 256)):
        loop = make_loop(stage, FEATURES[0], BATCHES[0], members=members, width=width)
        noted(f"68 features, batch 128, {members} members of width {width}", loop, loop.step)


def kernels(stage: Stage) -> None:
    """Count the kernels of a step, and name those that take longest."""
    from torch.profiler import ProfilerActivity, profile

    loop, steps, cuda = make_loop(stage, FEATURES[0], 128), 20, stage.device.type == "cuda"
    for _ in range(10):
        loop.step()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=kinds) as found:
        for _ in range(steps):
            loop.step()
        stage.wait()
    spent: dict[str, list[float]] = {}
    for event in found.events():
        if str(event.device_type).endswith("CUDA") if cuda else event.name.startswith("aten::"):
            spent.setdefault(event.name[:90], []).append(event.time_range.elapsed_us())
    stage.note("kernels a step", sum(map(len, spent.values())) / steps)
    stage.note("busy, us a step", sum(map(sum, spent.values())) / steps)
    for name, times in sorted(spent.items(), key=lambda item: -sum(item[1]))[:12]:
        stage.note(f"{len(times) / steps:g} x `{name}`, us a step", sum(times) / steps)


def optimiser(stage: Stage) -> None:
    """Time AdamW over the weights of NSL-KDD's fit in pieces of several sizes."""
    size = 191_072
    rate = torch.full((), 1e-3, device=stage.device)
    for piece in PIECES:
        adamw.PIECE[stage.device.type] = piece
        vector = torch.rand(size, device=stage.device)
        step = adamw.AdamW(Flat(vector, torch.rand_like(vector))).step
        what = f"AdamW in {-(-size // piece)} pieces, us"
        stage.note(what, stage.microseconds(lambda step=step: step(rate)))


@dataclass(frozen=True)
class Data:
    """Normal records to fit, and new ones, of which some are anomalies, (N,)."""

    normal: pd.DataFrame
    new: pd.DataFrame
    anomaly: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    auroc: float
    false_alarms: float
    seconds: float


def fit(stage: Stage, device: str, data: Data, **more: Any) -> Found:
    settings = {"steps": 20, **more} if stage.small else more
    started = time.perf_counter()
    detector = VAEDetector(alpha=ALPHA, device=device, **settings).fit(data.normal)
    seconds = time.perf_counter() - started
    auroc = roc_auc_score(data.anomaly, -detector.score_samples(data.new))
    alarms = detector.predict(data.new[~data.anomaly]) == -1
    return Found(float(auroc), float(alarms.mean()), seconds)


def nsl_kdd(folder: Path, small: bool = False) -> Data:
    labelled = pd.read_csv(folder / "labelled.csv")
    y = labelled.pop("label").to_numpy() != 0
    normal = pd.read_csv(folder / "normal.csv", nrows=2000 if small else None)
    return Data(normal, labelled[normal.columns], y)


def tables(stage: Stage) -> Iterator[tuple[str, Data]]:
    """NSL-KDD, and sets of ADBench: half of the normals to fit, the rest and all anomalies new."""
    if stage.nsl_kdd:
        yield "NSL-KDD", nsl_kdd(stage.nsl_kdd, stage.small)
    paths = sorted(stage.adbench.glob("*.npz")) if stage.adbench else []
    for path in paths[: 1 if stage.small else SETS]:
        with np.load(path) as data:
            x, y = data["X"], data["y"].astype(bool)
        normal = np.random.default_rng(0).permutation(np.flatnonzero(~y))[:20_000]
        fitted, rest = np.array_split(normal, 2)
        at = np.concatenate([rest, np.flatnonzero(y)])
        yield path.stem, Data(pd.DataFrame(x[fitted]), pd.DataFrame(x[at]), y[at])


def quality(stage: Stage) -> None:
    """Compare what fits on the GPU and on the CPU detect."""
    apart = []
    for name, data in tables(stage):
        here, cpu = fit(stage, stage.device.type, data), fit(stage, "cpu", data)
        apart.append(here.auroc - cpu.auroc)
        stage.note(
            f"{name}: AUROC, false alarms at {ALPHA:g}, fit s; in brackets on one core",
            f"{here.auroc:.4f} ({cpu.auroc:.4f}), {here.false_alarms:.4f} "
            f"({cpu.false_alarms:.4f}), {here.seconds:.2f} ({cpu.seconds:.2f})",
        )
    if apart:
        stage.note("mean difference of AUROC, GPU - CPU", float(np.mean(apart)))


def batches(stage: Stage) -> None:
    """Compare larger and fewer steps on NSL-KDD: a default for GPUs can only come from here."""
    if stage.nsl_kdd is None:
        return
    data = nsl_kdd(stage.nsl_kdd, stage.small)
    for batch, steps, rate_ in RECIPES[: 1 if stage.small else None]:
        settings = {"batch": batch, "learning_rate": rate_, "steps": 20 if stage.small else steps}
        found = [
            fit(stage, stage.device.type, data, random_state=seed, **settings) for seed in (0, 1)
        ]
        auroc, false, seconds = np.mean([astuple(one) for one in found], axis=0)
        what = f"NSL-KDD, batch {batch}, {steps} steps, rate {rate_:g}: AUROC, false alarms, fit s"
        stage.note(what, f"{auroc:.4f}, {false:.4f}, {seconds:.2f}")


def pyod(stage: Stage) -> None:
    """Fit PyOD's VAE on the same device, at its default batch of 32 and at 1,024."""
    if stage.nsl_kdd is None:
        return
    from pyod.models.vae import VAE as PyodVAE

    data = nsl_kdd(stage.nsl_kdd, stage.small)
    encode = one_hot(data.normal)
    x = encode.fit_transform(data.normal)
    for batch in (32, 1024):
        more = {"epoch_num": 1} if stage.small else {}
        model = PyodVAE(random_state=0, verbose=0, device=stage.device, batch_size=batch, **more)
        started = time.perf_counter()
        model.fit(x)
        stage.wait()
        seconds = time.perf_counter() - started
        theirs = model.decision_function(encode.transform(data.new))
        auroc = roc_auc_score(data.anomaly, theirs)
        stage.note(f"PyOD's VAE, batch {batch}: AUROC, fit s", f"{auroc:.4f}, {seconds:.2f}")


def command(stage: Stage) -> None:
    """Time the whole command, on the GPU and on one core, and evaluate its artifact."""
    if stage.nsl_kdd is None:
        return
    for device in (stage.device.type, "cpu"):
        with tempfile.TemporaryDirectory() as out:
            vaewatch = [sys.executable, "-m", "vaewatch"]
            words = ["train", str(stage.nsl_kdd / "normal.csv"), "--out", f"{out}/it"]
            words += ["--alpha", str(ALPHA), "--device", device, "--quiet"]
            words += ["--steps", "20"] if stage.small else []
            started = time.perf_counter()
            subprocess.run([*vaewatch, *words], check=True)
            seconds = time.perf_counter() - started
            words = ["evaluate", f"{out}/it", str(stage.nsl_kdd / "labelled.csv"), "--json"]
            done = subprocess.run([*vaewatch, *words], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            fitted = json.loads(Path(out, "it", "manifest.json").read_text())["run"]["fit_seconds"]
            stage.note(
                f"vaewatch train, {device}: whole command s, fit s, AUROC, false alarms",
                f"{seconds:.2f}, {fitted:.2f}, {found['auroc']:.4f}, "
                f"{found['false_alarm_rate']:.4f}",
            )


STAGES: dict[str, Callable[[Stage], None]] = {
    "machine": machine,
    "tests": tests,
    "gradient": gradient,
    "rate": rate,
    "kernels": kernels,
    "optimiser": optimiser,
    "quality": quality,
    "batches": batches,
    "pyod": pyod,
    "command": command,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--nsl-kdd", type=Path)
    parser.add_argument("--adbench", type=Path)
    args = parser.parse_args()

    def note(what: str, value: object) -> None:
        print(f"{args.stage}: {what}: {value}", flush=True)
        with args.figures.open("a") as file:
            file.write(json.dumps([args.stage, what, value]) + "\n")

    device = pick_device(args.device)
    torch.set_num_threads(1)
    STAGES[args.stage](Stage(device, args.small, args.nsl_kdd, args.adbench, note))


if __name__ == "__main__":
    main()
