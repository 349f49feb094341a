"""Weights computed once for a scope: an update, acting, a target network, an evaluation.

A layer with storage "gv" computes w at every forward. Inside a scope all layers use the weights
that were computed together when it was entered, in one launch on a GPU. Scopes are explicit:
nothing depends on tensors' version counters, which some optimizers do not increase.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm.parametrization import (
    WeightNormalized,
    computed_weights,
    effective_weights,
)

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def frozen_weights(module: Module) -> Iterator[Module]:
    """Keep the weights of storage "gv" layers as they are at entry; without gradients.

    Optimizer steps inside the scope take effect after it. `set_weight_`, `load_state_dict` and
    moves to a device or type end a layer's freeze at once. While gradients are enabled (under
    `torch.enable_grad()`, or in another thread that learns meanwhile) layers compute their weights
    from g and v as usual. Scopes nest, and scopes of two threads may overlap: the one entered last
    applies. Copies and pickles made inside are not frozen. Plain layers and storage "w" have
    nothing to compute.

    Args:
        module: freezes its layers, itself included.

    Yields:
        The module.
    """
    with torch.no_grad(), _held(_snapshots(module)):
        yield module


@contextmanager
def shared_weights(module: Module) -> Iterator[Module]:
    """Compute the weights of storage "gv" layers once, at entry, with gradients.

    Use it for one update: however often the update calls the network, w of all layers and the
    gradients of all g and v are computed once. `backward` frees the graph as usual, so a second
    `backward` needs another scope. Gradients are recorded if they are enabled at entry; everything
    else is as in `frozen_weights`.

    Args:
        module: shares the weights of its layers, itself included.

    Yields:
        The module.
    """
    with _held(_snapshots(module)):
        yield module


Snapshots = dict[WeightNormalized, dict[str, Tensor]]


def _snapshots(module: nn.Module) -> Snapshots:
    places = list(computed_weights(module))
    snapshots: Snapshots = {}
    for (layer, name), weight in zip(places, effective_weights(places), strict=True):
        snapshots.setdefault(layer, {})[name] = weight
    return snapshots


@contextmanager
def _held(snapshots: Snapshots) -> Iterator[None]:
    try:
        for layer, snapshot in snapshots.items():
            layer.freeze_(snapshot)
        yield
    finally:
        for layer, snapshot in snapshots.items():
            layer.thaw_(snapshot)
