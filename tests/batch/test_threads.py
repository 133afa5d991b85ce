"""Commands that score leave the processor's other cores to others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import make_frame

LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
CODE = """
import sys, threadpoolctl
from vaewatch.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code
found = threadpoolctl.threadpool_info()
print(*(it["num_threads"] for it in found if it["internal_api"] == "openblas"), file=sys.stderr)
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway")
@pytest.mark.parametrize("asked", [None, "2"])
def test_numpy_s_products_take_one_thread_unless_asked(
    artifact_path: Path, tmp_path: Path, asked: str | None
):
    make_frame(20).write_csv(tmp_path / "new.csv")
    env = {name: value for name, value in os.environ.items() if name not in LIMITS}
    words = ["score", str(artifact_path), str(tmp_path / "new.csv"), "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words, "--out", str(tmp_path / "out.csv")],
        env=env if asked is None else env | {"OPENBLAS_NUM_THREADS": asked},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    threads = set(done.stderr.split())
    if not threads:
        pytest.skip("this NumPy has another BLAS")
    assert threads == {asked or "1"}
