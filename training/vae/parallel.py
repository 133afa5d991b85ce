"""Data-parallel training under torchrun: several processes fit one model.

`torchrun --nproc-per-node 4 -m vaewatch train ...` starts the same command several times. Each
process draws its share of every batch. Gradients are averaged before each step, so that all hold
the same weights. The first process writes the artifact while the others wait.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def rank() -> int:
    """Return the number of this process; without torchrun there is only process 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return the number of this process among those of its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """Return the number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the other processes, if there are any: NCCL between GPUs, gloo between CPUs."""
    if world_size() == 1 or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        distributed.init_process_group("nccl", device_id=device)
    else:
        distributed.init_process_group("gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def average(gradients: Tensor) -> None:
    """Replace the gradients by their mean over the processes."""
    if world_size() > 1:
        distributed.all_reduce(gradients)
        gradients /= world_size()


def of_each(tensor: Tensor, device: torch.device) -> Tensor:
    """Return every process's tensor, (processes, ...), in the order of their ranks, on the CPU.

    Every process must call this. `device`: where the processes exchange tensors.
    """
    if world_size() == 1:
        return tensor.cpu().unsqueeze(0)
    sent = tensor.to(device)
    every = [torch.empty_like(sent) for _ in range(world_size())]
    distributed.all_gather(every, sent)
    return torch.stack(every).cpu()


def wait_for_all() -> None:
    if world_size() > 1:
        distributed.barrier()
