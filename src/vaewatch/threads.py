"""How many cores and threads a process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # https://docs.kernel.org/admin-guide/cgroup-v2.html


def cores() -> int:
    """Return the number of cores that this process may use; a container may allow fewer."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    here = len(os.sched_getaffinity(0))
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return here
    return here if quota == "max" else min(here, math.ceil(int(quota) / int(period)))


def products_on_one_thread() -> None:
    """Keep OpenBLAS from starting threads. Call this before NumPy is imported.

    Its threads would spin beside products as small as ours, and double the processor time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
