"""The weights of a network as rows, with gains, lengths and gradients, whatever their storage.

A layer is anything like `nn.Linear`, a convolution or a recurrent layer; nothing asks which
normalization a network has. A layer that computes its weight from one Parameter (torch's
parametrizations, weight standardization, spectral normalization) is read at that Parameter, which
is what learns and has the gradient; `effective_rows` are what such a layer of ours computes with.

Dimension key: O output units (rows), K elements of a row.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wnrl.nn.weight_norm.parametrization import WeightNormalized
from wnrl.optim.step import StepOptimizer

LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase)


class LayerWeight(NamedTuple):
    """One weight of one layer."""

    name: str  # the layer's, or `<layer>.<weight>` where it has several
    layer: nn.Module
    key: str  # the weight's name there

    @property
    def computed(self) -> bool:
        """Whether gains and weight vectors are the Parameters (storage "gv")."""
        return isinstance(self.layer, WeightNormalized) and self.layer.storage == "gv"

    @property
    def parameter(self) -> nn.Parameter:
        """The Parameter that is stepped; of storage "gv" the vectors v."""
        if isinstance(self.layer, WeightNormalized) and self.layer.storage == "gv":
            return self.layer.gv_parameters(self.key)[1]
        parameter = _parameter(self.layer, self.key)
        assert parameter is not None, "layer_weights chose it"
        return parameter

    @torch.no_grad()
    def rows(self) -> Tensor:
        """w (O, K) as it is now; shares memory where it can."""
        if isinstance(self.layer, WeightNormalized):
            return self.layer.effective_weight(self.key).detach().flatten(1)
        return self.parameter.detach().flatten(1)

    @torch.no_grad()
    def effective_rows(self) -> Tensor:
        """(O, K) What the layer computes with in acting; `rows()` unless it says otherwise."""
        compute = getattr(self.layer, "effective_weight", None)
        if compute is None or isinstance(self.layer, WeightNormalized):
            return self.rows()
        training = self.layer.training
        self.layer.training = False  # in training mode it may move: Spectral's u
        try:
            effective: Tensor = compute()
        finally:
            self.layer.training = training
        return effective.flatten(1)

    @torch.no_grad()
    def gradient(self) -> Tensor | None:
        """dL/dw (O, K) of the last backward pass, None without one.

        From those of g and v (eq. 3 read backwards), which hold all of it where g is not 0:
        dL/dw = (||v|| / g) dL/dv + (dL/dg / ||v||) v.
        """
        if not isinstance(self.layer, WeightNormalized) or self.layer.storage != "gv":
            gradient = self.parameter.grad
            return None if gradient is None else gradient.detach().flatten(1)
        gain, vectors = self.layer.gv_parameters(self.key)
        if gain.grad is None or vectors.grad is None:  # a fixed gain hides what lies along w
            return None
        g, v = (part.detach().flatten(1) for part in self.layer.gain_and_vector(self.key))
        dg, dv = gain.grad.flatten(1), vectors.grad.flatten(1)
        if self.layer.gain == "log":  # g = exp(c s): dL/ds = c g dL/dg
            dg = dg / (self.layer.gain_scale * g)
        norm = torch.linalg.vector_norm(v, dim=1, keepdim=True)
        along = torch.where(norm > 0, dg / norm, 0.0) * v
        return torch.where(g != 0, norm / g, 0.0) * dv + along


def layer_weights(module: nn.Module) -> list[LayerWeight]:
    """Every weight of two or more axes of every layer of a module, in the order of its modules."""
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
            recurrent = isinstance(layer, nn.RNNBase)
            keys = [key for key in layer._parameters if key.startswith("weight")]
            chosen = keys if recurrent else ["weight"]
            yield name, layer, [key for key in chosen if _is_matrix(layer, key)]


def _is_matrix(layer: nn.Module, key: str) -> bool:
    parameter = _parameter(layer, key)
    return parameter is not None and parameter.ndim >= 2


def _parameter(layer: nn.Module, key: str) -> nn.Parameter | None:
    """The Parameter of a weight, or the one from which torch's parametrization computes it."""
    own = layer._parameters.get(key)
    parametrized = layer._modules.get("parametrizations")
    if own is None and isinstance(parametrized, nn.ModuleDict) and key in parametrized:
        own = parametrized[key]._parameters.get("original")
    return own


@torch.no_grad()
def weight_vectors(module: nn.Module, optimizer: StepOptimizer) -> dict[str, tuple[Tensor, Tensor]]:
    """Gain g and length ||v|| of every weight-normalized weight, whichever storage it has.

    With storage "w", and for plain layers that the optimizer normalizes, the optimizer holds ||v||
    and the sign of g from its first step on; a weight that has not been stepped is left out.

    Args:
        module: the network.
        optimizer: the one that steps it.

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
            gain = _length(weight.parameter) * state["sign"].flatten()
            vectors[weight.name] = (gain, state["norm"].flatten().clone())
    return vectors


def _states(optimizer: object) -> Mapping[Any, Any]:
    """By Parameter, of a torch optimizer or of the one inside a wrapper such as `ClippedStep`."""
    while not isinstance(optimizer, torch.optim.Optimizer):
        if not hasattr(optimizer, "optimizer"):
            return {}
        optimizer = optimizer.optimizer
    return optimizer.state


def _length(rows: Tensor) -> Tensor:
    """(O, ...) -> (O,)."""
    length: Tensor = torch.linalg.vector_norm(rows.flatten(1), dim=1)
    return length
