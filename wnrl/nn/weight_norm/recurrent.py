"""What weight-normalized recurrent layers share: several weights, in torch's list of flat weights.

The layers are in `lstm` and `gru`, the cells in `cells`.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from wnrl.nn.weight_norm.parametrization import WeightNormalized


class RecurrentWeights(WeightNormalized):
    """Mixin of weight-normalized layers that torch derives from `nn.RNNBase`.

    With storage="gv" torch's list of flat weights holds v in place of w, for torch's type checks
    only; the layers compute with `flat_weights`.
    """

    _flat_weights_names: list[str]
    _flat_weights: Any
    _flat_weight_refs: Any

    def weight_names(self) -> tuple[str, ...]:
        """Return torch's names of the matrices: weight_ih_l0, weight_hh_l0, ..."""
        return tuple(name for name in self._flat_weights_names if name.startswith("weight"))

    def plain_names(self) -> Sequence[str]:
        """Return torch's names of weights and biases, in its order."""
        return self._flat_weights_names

    def flat_weights(self) -> list[Tensor]:
        """Return effective weights and biases in torch's order."""
        return [
            self.effective_weight(name) if name.startswith("weight") else getattr(self, name)
            for name in self._flat_weights_names
        ]

    def _init_flat_weights(self) -> None:
        if not self._computes():
            torch_layer: Any = super()
            torch_layer._init_flat_weights()
            return
        self._flat_weights = [
            self._parameters.get(f"{name}_v", self._parameters.get(name))
            for name in self._flat_weights_names
        ]
        self._flat_weight_refs = [None] * len(self._flat_weights)

    def _weights_have_changed(self) -> bool:
        torch_layer: Any = super()
        return not self._computes() and bool(torch_layer._weights_have_changed())

    def flatten_parameters(self) -> None:
        """Give cuDNN one buffer of weights; do nothing with storage="gv", which computes them."""
        if not self._computes():
            torch_layer: Any = super()
            torch_layer.flatten_parameters()

    def _weights_replaced(self) -> None:
        super()._weights_replaced()
        self._init_flat_weights()

    def _computes(self) -> bool:
        return any(name.endswith("_v") for name in self._parameters)
