"""Copy the state of a run, so that a thread can write it while the run goes on."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def snapshot(value: Any, where: str = "state") -> Any:
    """Return a copy that later steps do not change, with its tensors on the CPU.

    Args:
        value: made of tensors and plain values.
        where: its name, for the message.

    Raises:
        TypeError: it holds a value that `torch.load(weights_only=True)` refuses.
    """
    kind = type(value)
    if kind in (int, float, str, bool, type(None)):
        return value
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if kind in (list, tuple):
        return kind(snapshot(item, f"{where}[{index}]") for index, item in enumerate(value))
    if kind in (dict, OrderedDict):
        copied = copy.copy(value)  # with the metadata of a module's state_dict
        for key, item in value.items():
            snapshot(key, f"a key of {where}")
            copied[key] = snapshot(item, f"{where}[{key!r}]")
        return copied
    raise TypeError(
        f"{where} is a {kind.__module__}.{kind.__qualname__}; "
        "a state is made of tensors, dict, list, tuple, int, float, str, bool and None"
    )


def weights_of(network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of weights whose file depends on their values alone.

    Views, shared storages and a module's metadata would make equal weights unequal files.
    """
    return {
        name: tensor.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        for name, tensor in network.items()
    }
