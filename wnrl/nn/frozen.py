"""Computed weights once for a scope: acting, a target network, an evaluation.

A layer with storage "gv" computes w at every forward. Where nothing learns, the weights of all
layers are computed together at the entry of a scope, and every forward inside uses them. A scope
begins and ends where the code says so; nothing is keyed on tensors' versions, which some optimizers
do not raise.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from wnrl.nn.normalized import WeightNormalized, computed_weights, effective_weights

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def frozen_weights(module: Module) -> Iterator[Module]:
    """Inside, layers of storage "gv" use the weights that they have at the entry; no gradients.

    Steps of an optimizer inside are seen after the scope only. `set_weight_`, `load_state_dict`
    and moves to a device or type end a layer's freeze at once. Where gradients are on (under
    `torch.enable_grad()`, or in another thread that learns meanwhile) a layer computes its weight
    from g and v as ever. Scopes nest, and those of two threads may overlap: the one entered last
    holds. Copies and pickles made inside are not frozen. Plain layers and storage "w" have nothing
    to compute.

    Args:
        module: whose layers, itself included, are frozen.

    Yields:
        The module.
    """
    places = list(computed_weights(module))
    with torch.no_grad():
        weights = effective_weights(places)
        snapshots: dict[WeightNormalized, dict[str, Tensor]] = {}
        for (layer, name), weight in zip(places, weights, strict=True):
            snapshots.setdefault(layer, {})[name] = weight
        try:
            for layer, snapshot in snapshots.items():
                layer.freeze_(snapshot)
            yield module
        finally:
            for layer, snapshot in snapshots.items():
                layer.thaw_(snapshot)
