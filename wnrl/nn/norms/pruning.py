"""Removal of units that are always 0 from a network, and of what later layers read from them.

Which layer reads which is found by tracing the network's forward pass with torch.fx.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from wnrl.kernels.pixels import scaled

_LAYERS = (nn.Linear, nn.Conv2d)
# Modules f that work on each channel for itself, with f(0) = 0.
_KEEP_ZERO = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Tanh,
    nn.Dropout,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.Flatten,
)


class Chain(NamedTuple):
    """A layer whose units may be removed, and the layers that alone read its output."""

    layer: Any
    readers: tuple[Any, ...]


class _Tracer(fx.Tracer):
    """Traces what a network computes from its layers, not what they compute."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=(scaled,))  # which looks at its input's type

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(True for _ in m.children())


def chains(network: nn.Module, layers: Sequence[nn.Module]) -> list[Chain]:
    """Return those of the layers whose units can be removed, with their readers.

    That needs readers that are Linear or Conv2d, behind nothing but modules that keep zeros at
    their place; an addition, a normalization, an LSTM or the network's end is none. If the forward
    pass cannot be traced there are none, and a warning says so.
    """
    try:
        graph = _Tracer().trace(network)
    except Exception as error:  # anything, because it runs the network's own code
        warnings.warn(
            f"no unit is removed, because {type(network).__name__}'s forward pass cannot be "
            f"traced ({type(error).__name__}: {error}); closed units stay as zeros",
            stacklevel=3,
        )
        return []
    calls: dict[nn.Module, list[fx.Node]] = {}
    modules = dict(network.named_modules())
    for node in graph.nodes:
        if node.op == "call_module":
            calls.setdefault(modules[str(node.target)], []).append(node)
    found = []
    for layer in layers:
        nodes = calls.get(layer, [])
        readers = list(_readers(nodes[0], modules)) if len(nodes) == 1 else []
        if readers and all(_may_shrink(reader, calls) for reader in readers):
            found.append(Chain(layer, tuple(readers)))
    return found


def _may_shrink(reader: nn.Module | None, calls: dict[nn.Module, list[fx.Node]]) -> bool:
    """Return whether a reader is a layer that is used once and reads every channel."""
    return (
        isinstance(reader, _LAYERS)
        and len(calls[reader]) == 1
        and getattr(reader, "groups", 1) == 1
    )


def _readers(node: fx.Node, modules: dict[str, nn.Module]) -> Iterator[nn.Module | None]:
    """Yield the layers that read a node's output, and None for every other use."""
    for user in node.users:
        module = modules[str(user.target)] if user.op == "call_module" else None
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
            yield None
        elif isinstance(module, _KEEP_ZERO):
            yield from _readers(user, modules)
        else:
            yield module


@torch.no_grad()
def remove_closed_(chain: Chain) -> None:
    """Remove the units of a plain layer whose weights and bias are all 0; at least one stays."""
    layer = chain.layer
    kept = layer.weight.flatten(1).any(dim=1)  # (O, ...) -> (O,)
    if layer.bias is not None:
        kept |= layer.bias != 0
    if not kept.any():
        kept[0] = True
    if kept.all():
        return
    for reader in chain.readers:
        _shrink_(reader, "weight", _inputs(reader, kept), axis=1)
    _shrink_(layer, "weight", kept, axis=0)
    if layer.bias is not None:
        _shrink_(layer, "bias", kept, axis=0)
    for module in (layer, *chain.readers):
        _count_(module)


def _inputs(reader: nn.Module, kept: Tensor) -> Tensor:
    """Return which inputs of a reader stay; after a flattening a channel is several in a row."""
    weight: Any = reader.weight
    return kept.repeat_interleave(weight.shape[1] // len(kept))


def _shrink_(layer: Any, name: str, kept: Tensor, axis: int) -> None:
    old = getattr(layer, name)
    chosen = kept.nonzero()[:, 0]
    new = old.detach().index_select(axis, chosen)
    if old.ndim == 4 and old.is_contiguous(memory_format=torch.channels_last):
        new = new.contiguous(memory_format=torch.channels_last)
    setattr(layer, name, nn.Parameter(new, requires_grad=old.requires_grad))


def _count_(layer: Any) -> None:
    """Set a layer's sizes to those of its weight."""
    units, inputs = layer.weight.shape[:2]
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = units, inputs
    else:
        layer.out_channels, layer.in_channels = units, inputs
