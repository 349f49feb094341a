"""Gradient, Hessian products and Gauss-Newton products of a network's loss at one point.

    Hessian       H v = d/dw (dL/dw . v)                         (Pearlmutter 1994)
    Gauss-Newton  G v = J^T (d2L/dz2) J v, z the network's output (Schraudolph 2002)

J v comes from two backward passes: J^T u is linear in u, and its gradient along v is J v.

Dimension key: D elements of all coordinates.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from wnrl.instruments.curvature.coordinates import Coordinates, Named


class Products:
    """The loss's derivatives at a point; the network itself does not change.

    The network runs in training mode where the loss says so. Buffers, such as running statistics,
    are copies.

    Attributes:
        gradient: (D,) dL/dpoint, detached.
    """

    def __init__(
        self, network: nn.Module, loss: Callable[[nn.Module], Tensor], coordinates: Coordinates
    ) -> None:
        """Evaluate the loss and keep its graph.

        Args:
            network: its Parameters follow from the coordinates.
            loss: network -> (); it calls the network once with gradients.
            coordinates: where the derivatives are taken.

        Raises:
            ValueError: the loss called the network another number of times with gradients.
        """
        self._leaves = list(coordinates.point.values())
        with torch.enable_grad():
            tapped = _Tapped(network, coordinates.parameters(coordinates.point))
            self._loss = loss(tapped)
            if len(tapped.outputs) != 1:
                raise ValueError(
                    f"the loss called the network {len(tapped.outputs)} times with gradients; "
                    "the Gauss-Newton matrix is defined for 1"
                )
            self._outputs = tapped.outputs[0]
            self._gradient = self._grad(self._loss, self._leaves, create_graph=True)
        self.gradient = self._gradient.detach()

    @torch.enable_grad()
    def hessian(self, vector: Tensor) -> Tensor:
        """Return H v (D,)."""
        return self._grad(self._gradient @ vector, self._leaves).detach()

    @torch.enable_grad()
    def gauss_newton(self, vector: Tensor) -> Tensor:
        """Return G v (D,)."""
        if not hasattr(self, "_jacobian_of"):
            self._prepare()
        moved = self._grad(self._jacobian_of @ vector, self._probe)  # J v
        curved = self._grad(self._output_gradient @ moved, self._outputs)  # (d2L/dz2) J v
        parts = curved.split([z.numel() for z in self._outputs])
        shaped = [part.view_as(z) for part, z in zip(parts, self._outputs, strict=True)]
        back = torch.autograd.grad(
            self._outputs, self._leaves, shaped, retain_graph=True, materialize_grads=True
        )
        return torch.cat([x.reshape(-1) for x in back]).detach()

    def _prepare(self) -> None:
        """Build the graphs of J^T u and dL/dz."""
        self._probe = [torch.zeros_like(z).requires_grad_() for z in self._outputs]
        back = torch.autograd.grad(
            self._outputs,
            self._leaves,
            self._probe,
            create_graph=True,
            materialize_grads=True,
        )
        self._jacobian_of = torch.cat([x.reshape(-1) for x in back])
        self._output_gradient = self._grad(self._loss, self._outputs, create_graph=True)

    @staticmethod
    def _grad(value: Tensor, leaves: list[Tensor], create_graph: bool = False) -> Tensor:
        """Return d value / d leaves as one vector; zeros where it does not depend on them."""
        if not value.requires_grad:
            return torch.cat([torch.zeros_like(x).reshape(-1) for x in leaves])
        parts = torch.autograd.grad(
            value, leaves, retain_graph=True, create_graph=create_graph, materialize_grads=True
        )
        return torch.cat([x.reshape(-1) for x in parts])


def gradient_at(
    network: nn.Module, loss: Callable[[nn.Module], Tensor], coordinates: Coordinates
) -> Named:
    """Return dL/dpoint by name, without a graph for further derivatives."""
    leaves = coordinates.point
    with torch.enable_grad():
        value = loss(_Tapped(network, coordinates.parameters(leaves)))
    parts = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, parts, strict=True))


class _Tapped(nn.Module):
    """A network with other Parameters, which keeps the outputs that have gradients.

    Buffers are copied at each call, so that every call sees those of the network.
    """

    def __init__(self, network: nn.Module, parameters: Named) -> None:
        super().__init__()
        self.network = network
        self._with = parameters
        self.outputs: list[list[Tensor]] = []

    def forward(self, *arguments: Any) -> Any:
        """Return the network's output."""
        buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        output = functional_call(self.network, {**self._with, **buffers}, arguments)
        tensors = [x for x in pytree.tree_leaves(output) if isinstance(x, Tensor)]
        if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
            self.outputs.append([x for x in tensors if x.requires_grad])
        return output
