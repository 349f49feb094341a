"""Which device a run computes on."""

import functools
import re
from collections.abc import Callable

import torch

from wnrl._settings import UsageError


def resolve_device(name: str) -> torch.device:
    """The device that a name stands for.

    Args:
        name: `auto` (the first CUDA device if there is one, else the CPU), `cpu`, `cuda` (the
            first) or `cuda:1`.

    Raises:
        UsageError: another name, or a CUDA device that is not there.
    """
    cuda = re.fullmatch(r"cuda(?::(\d+))?", name)
    if name not in ("auto", "cpu") and cuda is None:
        raise UsageError(f"device {name!r} is not known: use auto, cpu, cuda or cuda:<number>")
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if cuda is None:
        return torch.device("cuda", 0) if count else torch.device("cpu")
    index = int(cuda[1] or 0)
    if index >= count:
        there = f"cuda:0 to cuda:{count - 1}" if count else "no CUDA device"
        raise UsageError(f"device {name!r} was asked for, and torch sees {there}: use auto or cpu")
    return torch.device("cuda", index)


def waiting_for(device: torch.device) -> Callable[[], None]:
    """What returns when a device has done all that it was asked; on the CPU that is at once."""
    if device.type == "cuda":
        return functools.partial(torch.cuda.synchronize, device)
    return lambda: None
