"""The weights of a network as rows, with gains, lengths and gradients, in any storage.

Layers are linear, convolution and recurrent layers, cells and embeddings, with any normalization;
others, such as attention's projection of its inputs, are not read. If a layer computes its
weight from one Parameter (torch's parametrizations, weight standardization, spectral
normalization), `rows` reads that Parameter, which learns and has the gradient, and `effective_rows`
the computed weight.

Dimension key: O output units (rows), K elements of a row.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wnrl.kernels.row_layout import output_first
from wnrl.nn.weight_norm.layers import LAYERS
from wnrl.nn.weight_norm.parametrization import WeightNormalized
from wnrl.optim.step import StepOptimizer


class LayerWeight(NamedTuple):
    """One weight of one layer."""

    name: str  # the layer's name, or `<layer>.<weight>` if it has several weights
    layer: nn.Module
    key: str  # the weight's name in the layer

    @property
    def computed(self) -> bool:
        """Return whether gains and weight vectors are the Parameters (storage "gv")."""
        return isinstance(self.layer, WeightNormalized) and self.layer.storage == "gv"

    @property
    def parameter(self) -> nn.Parameter:
        """The Parameter that is stepped; v with storage "gv"."""
        if isinstance(self.layer, WeightNormalized) and self.layer.storage == "gv":
            return self.layer.gv_parameters(self.key)[1]
        parameter = _parameter(self.layer, self.key)
        assert parameter is not None, "layer_weights chose it"
        return parameter

    @torch.no_grad()
    def rows(self) -> Tensor:
        """Return the current w (O, K); it shares memory if possible."""
        if isinstance(self.layer, WeightNormalized):
            return self._rows_of(self.layer.effective_weight(self.key))
        return self._rows_of(self.parameter)

    @torch.no_grad()
    def effective_rows(self) -> Tensor:
        """Return the weight (O, K) that the layer uses in acting; `rows()` for most layers."""
        compute = getattr(self.layer, "effective_weight", None)
        if compute is None or isinstance(self.layer, WeightNormalized):
            return self.rows()
        training = self.layer.training
        self.layer.training = False  # training mode would move Spectral's u
        try:
            effective: Tensor = compute()
        finally:
            self.layer.training = training
        return self._rows_of(effective)

    @torch.no_grad()
    def gradient(self) -> Tensor | None:
        """Return dL/dw (O, K) of the last backward pass, or None.

        With storage "gv" it is computed from the gradients of g and v (eq. 3 inverted), for g != 0:

            dL/dw = (||v|| / g) dL/dv + (dL/dg / ||v||) v
        """
        if not isinstance(self.layer, WeightNormalized) or self.layer.storage != "gv":
            gradient = self.parameter.grad
            return None if gradient is None else self._rows_of(gradient)
        gain, vectors = self.layer.gv_parameters(self.key)
        if gain.grad is None or vectors.grad is None:  # without dL/dg the part along w is unknown
            return None
        g, v = (part.detach().flatten(1) for part in self.layer.gain_and_vector(self.key))
        dg, dv = self._rows_of(gain.grad), self._rows_of(vectors.grad)
        if self.layer.gain == "log":  # g = exp(c s): dL/ds = c g dL/dg
            dg = dg / (self.layer.gain_scale * g)
        norm = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        along = torch.where(norm > 0, dg / norm, 0.0) * v
        return torch.where(g != 0, norm / g, 0.0) * dv + along

    def _rows_of(self, tensor: Tensor) -> Tensor:
        """Return a tensor shaped as the weight, or as its gains, as rows."""
        axis = int(getattr(self.layer, "transposed", False))
        return output_first(tensor.detach(), axis).flatten(1)


def layer_weights(module: nn.Module) -> list[LayerWeight]:
    """Return every weight with two or more axes of a module's layers, in the order of modules."""
    return [
        LayerWeight(layer_name if len(keys) == 1 else f"{layer_name}.{key}", layer, key)
        for layer_name, layer, keys in _layers(module)
        for key in keys
    ]


def _layers(module: nn.Module) -> Iterator[tuple[str, nn.Module, list[str]]]:
    for name, layer in module.named_modules():
        if isinstance(layer, WeightNormalized):
            yield name, layer, list(layer.weight_names())
        elif isinstance(layer, LAYERS):
            recurrent = isinstance(layer, nn.RNNBase | nn.RNNCellBase)
            keys = [key for key in layer._parameters if key.startswith("weight")]
            chosen = keys if recurrent else ["weight"]
            yield name, layer, [key for key in chosen if _is_matrix(layer, key)]


def _is_matrix(layer: nn.Module, key: str) -> bool:
    parameter = _parameter(layer, key)
    return parameter is not None and parameter.ndim >= 2


def _parameter(layer: nn.Module, key: str) -> nn.Parameter | None:
    """Return a weight's Parameter, or the one from which torch's parametrization computes it."""
    parameter = layer._parameters.get(key)
    parametrized = layer._modules.get("parametrizations")
    if parameter is None and isinstance(parametrized, nn.ModuleDict) and key in parametrized:
        parameter = parametrized[key]._parameters.get("original")
    return parameter


@torch.no_grad()
def weight_vectors(module: nn.Module, optimizer: StepOptimizer) -> dict[str, tuple[Tensor, Tensor]]:
    """Return gain g and length ||v|| of every weight-normalized weight, in either storage.

    With storage "w", and for plain layers that the optimizer normalizes, the optimizer holds ||v||
    and the sign of g from its first step on; weights that have not been stepped are left out.

    Args:
        module: the network.
        optimizer: steps the network.

    Returns:
        By `LayerWeight.name`: g (O,) and ||v|| (O,).
    """
    states = _states(optimizer)
    vectors: dict[str, tuple[Tensor, Tensor]] = {}
    for weight in layer_weights(module):
        layer = weight.layer
        if isinstance(layer, WeightNormalized) and layer.storage == "gv":
            g, v = layer.gain_and_vector(weight.key)
            vectors[weight.name] = (g.flatten().clone(), _length(v))
        elif "norm" in (state := states.get(weight.parameter, {})):
            gain = _length(weight.rows()) * state["sign"].flatten()
            vectors[weight.name] = (gain, state["norm"].flatten().clone())
    return vectors


def _states(optimizer: object) -> Mapping[Any, Any]:
    """Return the state by Parameter, also from inside a wrapper such as `ClippedStep`."""
    while not isinstance(optimizer, torch.optim.Optimizer):
        if not hasattr(optimizer, "optimizer"):
            return {}
        optimizer = optimizer.optimizer
    return optimizer.state


def _length(rows: Tensor) -> Tensor:
    """(O, ...) -> (O,)."""
    length: Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1)
    return length
