"""A fit's steps as a GPU takes them, on tensors that have a device and no numbers (FakeTensor).

It needs no GPU, and finds what would stop one: an operation on tensors of two devices, and one
that waits for a number, which ends a capture and drains the queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vaewatch.training.config import TrainConfig
from vaewatch.training.vae.batches import Batches
from vaewatch.training.vae.fit import _Log
from vaewatch.training.vae.folds import Folds
from vaewatch.training.vae.loop import Loop
from vaewatch.training.vae.probe import Probe
from vaewatch.training.vae.vae import VAE

GPU = torch.device("cuda:0")
X = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
FOLDS = Folds.draw(500, 4, 2, seed=0)
ROOM, NO_ROOM = 2**30, 0


class Generator(torch.Generator):
    """A generator that says it is on the GPU; a torch without CUDA makes no other."""

    def __new__(cls, device: object = "cpu") -> Generator:
        return super().__new__(cls)

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.home = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self.home


class Devices(TorchDispatchMode):
    """Collects the devices that operations leave their results on."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.device] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.seen |= {tensor.device for tensor in tensors}
        return result


@pytest.fixture(autouse=True)
def without_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make every tensor of a test one without numbers, and AdamW one that changes none."""
    monkeypatch.setattr(torch, "Generator", Generator)
    library = torch.library.Library("aten", "IMPL", "Meta")
    library.impl("_fused_adamw_.tensor_lr", lambda *args, **kwargs: None)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    library._destroy()


def loop_of(model: str, room: int) -> Loop:
    config = TrainConfig(members=4, served=2, width=16, steps=20, model=model)
    vae = VAE(members=4, features=6, latent=3, width=16, generator=torch.Generator())
    for module in vae.modules():  # Module.to would not take tensors without numbers
        for name, weight in list(module._parameters.items()):
            assert weight is not None
            module._parameters[name] = nn.Parameter(weight.detach().to(GPU))
    return Loop(vae, Batches.of(X, FOLDS.seen(), GPU, room=room), config)


@pytest.mark.parametrize("model", ["vae", "ae"])
@pytest.mark.parametrize("room", [ROOM, NO_ROOM], ids=["resident", "sent"])
def test_a_step_and_its_line_in_the_log_stay_on_the_gpu(model: str, room: int):
    loop = loop_of(model, room)
    assert loop.batches.resident == (room == ROOM)
    log = _Log(loop, Probe.of(X, FOLDS, loop.batches.noise, loop.vae, loop.config))
    with Devices() as devices:
        loop._step()
        log.note()
    assert devices.seen == {GPU}


def test_a_step_of_two_devices_is_refused():
    loop = loop_of("vae", ROOM)
    loop.rates = loop.rates.cpu()
    with pytest.raises(RuntimeError, match="device"):
        loop._step()


def test_a_line_is_not_read_before_the_end():
    loop = loop_of("vae", ROOM)
    log = _Log(loop, Probe.of(X, FOLDS, loop.batches.noise, loop.vae, loop.config))
    loop._step()
    log.note()
    with pytest.raises(DataDependentOutputException):
        log.read()
