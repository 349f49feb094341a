"""The coordinates in which a curvature is measured: the weights w, or gains g and vectors v.

A Hessian depends on its coordinates. `WEIGHTS` are the network's Parameters. In `(g, v)`, the
weight of every layer is w = g v / ||v|| (Salimans & Kingma 2016, eq. 2).

Dimension key: O output units, D elements of all coordinates.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wnrl.instruments.weight_rows import layer_weights
from wnrl.kernels.reference import effective_weight, row_norm
from wnrl.kernels.row_layout import output_back, output_first

Named = dict[str, Tensor]
Vectors = Mapping[str, tuple[Tensor, Tensor]]  # by layer: g (O,) and ||v|| (O,)


class Coordinates(NamedTuple):
    """A point, and how the network's Parameters follow from it."""

    point: Named  # leaves that require gradients
    parameters: Callable[[Named], Named]  # point -> the network's Parameters by name


def weights(network: nn.Module) -> Coordinates:
    """Return the network's Parameters as coordinates."""
    return Coordinates({name: _leaf(p) for name, p in network.named_parameters()}, dict)


def gains_and_vectors(network: nn.Module, vectors: Vectors) -> Coordinates:
    """Return g and v of every layer's weight as coordinates; other Parameters stay as they are.

    A layer without an entry begins where weight normalization begins: v = w, g = ||w||.

    Args:
        network: with plain layers, as `wnrl.nn.fold_` leaves them.
        vectors: from `weight_vectors`; ||v|| and the signs of g are taken from it.
    """
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    point = {name: _leaf(parameter) for name, parameter in network.named_parameters()}
    axes: dict[str, int] = {}
    for weight in layer_weights(network):
        name = names[id(weight.parameter)]
        axes[name] = int(getattr(weight.layer, "transposed", False))
        w = output_first(point.pop(name).detach(), axes[name])
        length = row_norm(w)  # (O, 1, ...)
        norm, sign = length, torch.ones_like(length)
        if weight.name in vectors:
            gain, n = (x.to(w).view_as(length) for x in vectors[weight.name])
            norm, sign = n, torch.where(gain < 0, -1.0, 1.0).to(w)
        direction = torch.where(length > 0, sign * w / length, (w[0].numel()) ** -0.5)
        point[f"{name}_g"] = _leaf(sign * length)
        point[f"{name}_v"] = _leaf(direction * torch.where(norm > 0, norm, 1.0))

    def parameters(point: Named) -> Named:
        made = {name: x for name, x in point.items() if name[:-2] not in axes}
        for name, axis in axes.items():
            made[name] = output_back(effective_weight(point[f"{name}_v"], point[f"{name}_g"]), axis)
        return made

    return Coordinates(point, parameters)


def flat(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return all elements in one vector (D,)."""
    return torch.cat([x.detach().reshape(-1) for x in tensors.values()])


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()
