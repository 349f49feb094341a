"""Resolve a device name to a device that torch can use here."""

import functools
import os
import re
from collections.abc import Callable
from typing import Any

import torch

from wnrl._settings import SettingError


def resolve_device(name: str) -> torch.device:
    """Return the device with this name.

    Args:
        name: `auto` (the first CUDA device, or the CPU if there is none), `cpu`, `cuda` (the first
            CUDA device) or `cuda:1`.

    Raises:
        SettingError: the name is unknown, or torch does not see that CUDA device.
    """
    cuda = re.fullmatch(r"cuda(?::(\d+))?", name)
    if name not in ("auto", "cpu") and cuda is None:
        raise SettingError("device", f"{name!r} is unknown; use auto, cpu, cuda or cuda:<number>")
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if cuda is None:
        return torch.device("cuda", 0) if count else torch.device("cpu")
    index = int(cuda[1] or 0)
    if index >= count:
        visible = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
        raise SettingError(
            "device", f"{name!r} is not available: torch sees {visible}; use auto or cpu"
        )
    return torch.device("cuda", index)


def shared_gpus(name: str) -> list[str]:
    """Return the GPUs that runs with this device may be spread over.

    Args:
        name: as for `resolve_device`; `cuda:1` names one GPU for all runs, so nothing is spread.

    Returns:
        Names for the variable CUDA_VISIBLE_DEVICES of a run's process; empty without a choice.
    """
    if name not in ("auto", "cuda") or resolve_device(name).type != "cuda":
        return []
    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
    return (named or [str(index) for index in range(count)])[:count]


def waiting_for(device: torch.device) -> Callable[[], None]:
    """Return a function that blocks until the device has finished its queued work.

    On the CPU it returns at once, because nothing is queued there.
    """
    if device.type == "cuda":
        return functools.partial(torch.cuda.synchronize, device)
    return lambda: None


def use_deterministic_algorithms() -> None:
    """Let torch use only operations that repeat bit for bit on the same GPU model and versions.

    An operation that has no such form raises RuntimeError. Call it before the first use of CUDA:
    cuBLAS reads its workspace's size once. It holds for the whole process.
    Source: PyTorch's notes on reproducibility.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    settings: Any = torch.utils.deterministic  # declares no types
    settings.fill_uninitialized_memory = False  # nothing here reads such memory
    torch.use_deterministic_algorithms(True)
