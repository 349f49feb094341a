"""What weight-normalized recurrent layers share: several weights, in torch's list of flat weights.

The layers are in `lstm` and `gru`, the cells in `cells`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from wnrl.nn.weight_norm.parametrization import WeightNormalized


class RecurrentWeights(WeightNormalized):
    """Mixin of weight-normalized layers that torch derives from `nn.RNNBase`.

    With storage="gv" torch's list of flat weights holds v in place of w, for torch's type checks
    only; the layers compute with `flat_weights`.

    A layer names torch's kernel and says what its state is: h (layers * directions, B, H) alone, or
    h and c.
    """

    _kernel: Callable[..., tuple[Any, ...]]  # -> output and each tensor of the state
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

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """(T, B, I), (B, T, I), (T, I) or packed, and a state -> outputs and last state."""
        layer: Any = self  # torch's attributes
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"input is {tuple(input.shape)}: expected (T, B, I) or (T, I)")
        batched = input.dim() == 3
        axis = 0 if layer.batch_first else 1
        x = input if batched else input.unsqueeze(axis)
        if hx is None:
            hx = self._zero_state(x, x.shape[axis])
        elif not batched:
            hx = self._each(hx, lambda part: part.unsqueeze(1))
        layer.check_forward_args(x, hx, None)
        output, *state = self._kernel(
            x, hx, self.flat_weights(), *self._settings(), layer.batch_first
        )
        last = self._state(state)
        if batched:
            return output, last
        return output.squeeze(axis), self._each(last, lambda part: part.squeeze(1))

    def _forward_packed(self, packed: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        layer: Any = self
        x, batch_sizes, order, back = packed
        if hx is None:
            hx = self._zero_state(x, int(batch_sizes[0]))
        else:
            hx = layer.permute_hidden(hx, order)
        layer.check_forward_args(x, hx, batch_sizes)
        output, *state = self._kernel(x, batch_sizes, hx, self.flat_weights(), *self._settings())
        last = layer.permute_hidden(self._state(state), back)
        return PackedSequence(output, batch_sizes, order, back), last

    def _settings(self) -> tuple[Any, ...]:
        """Return the arguments that torch's kernels take after the weights."""
        layer: Any = self
        return (layer.bias, layer.num_layers, layer.dropout, layer.training, layer.bidirectional)

    def _zero_state(self, x: Tensor, batch: int) -> Any:
        layer: Any = self
        stacked = layer.num_layers * (2 if layer.bidirectional else 1)
        return self._state([x.new_zeros(stacked, batch, size) for size in self._state_sizes()])

    def _state_sizes(self) -> tuple[int, ...]:
        """Return the units of each tensor of the state."""
        raise NotImplementedError

    def _state(self, parts: Sequence[Tensor]) -> Any:
        """Return the state made of its tensors."""
        raise NotImplementedError

    def _each(self, state: Any, change: Callable[[Tensor], Tensor]) -> Any:
        """Return a state with each of its tensors changed."""
        raise NotImplementedError

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
