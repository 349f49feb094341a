"""Weights computed once for a scope: an update, acting, a target network, an evaluation.

A layer with storage "gv" computes w at every forward. Inside a scope the weights of all layers are
those that were computed together at its entry, in one launch on a GPU. A scope begins and ends
where the code says so; nothing is keyed on tensors' versions, which some optimizers do not raise.
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
    with torch.no_grad(), _held(_snapshots(module)):
        yield module


@contextmanager
def shared_weights(module: Module) -> Iterator[Module]:
    """Inside, layers of storage "gv" use the weights that they have at the entry, with gradients.

    For one update: however often it calls the network, w of all layers is computed once, and so are
    the gradients of all g and v. One `backward` takes the graph with it, as ever: a second one
    needs a scope of its own. Whether gradients are on is settled at the entry; the rest is as in
    `frozen_weights`.

    Args:
        module: whose layers, itself included, share.

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
