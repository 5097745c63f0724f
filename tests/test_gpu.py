"""The memory of GPUs: what NVIDIA's own tool tells, and nothing where there is none."""

from __future__ import annotations

import shutil
import subprocess

from cofio.gpu import gpu_memory


def test_it_tells_of_the_gpus_that_there_are() -> None:
    told = gpu_memory()
    tool = shutil.which("nvidia-smi")
    if tool is None:
        assert told == ()
        return
    command = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    totals = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [round(each.total / 2**20) for each in told] == [int(total) for total in totals]
    assert all(0 < each.used <= each.total for each in told)
