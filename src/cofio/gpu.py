"""The memory of the GPUs, as NVIDIA's management library tells it. Imported only where the encoder runs on one."""

from __future__ import annotations

from dataclasses import dataclass

import pynvml


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuMemory:
    """The memory of one GPU, in bytes; in use by all processes together."""

    gpu: str
    used: int
    total: int


def gpu_memory() -> tuple[GpuMemory, ...]:
    """The memory of every GPU of this machine; none where the library cannot be asked."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            told = pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(index))
            found.append(GpuMemory(gpu=str(index), used=int(told.used), total=int(told.total)))
        return tuple(found)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()
