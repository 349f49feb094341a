"""`torch.nn.LSTM` with weight normalization, for recurrent networks, which batch norm cannot serve.

Weight normalization needs no statistics of a minibatch, so it computes the same function at every
step of a sequence, in acting and in learning. The cell itself is torch's kernel.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from collections.abc import Sequence

from torch import _VF, Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from wnrl.nn.weight_norm.parametrization import WeightNormalized

State = tuple[Tensor, Tensor]  # h (layers * directions, B, P or H), c (layers * directions, B, H)


class WNLSTM(WeightNormalized, nn.LSTM):
    """`torch.nn.LSTM` with one gain per row of every weight: each gate of each unit has its own.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`. With storage="gv" each
    `weight_ih_l0`, `weight_hh_l0` (and `weight_hr_l0` with `proj_size`), for every layer and
    direction, becomes `<name>_g` (4H, 1) and `<name>_v` (4H, I). Weights are computed once per
    forward, not per step. With storage="w" the module computes as torch's, and `WNAdam` normalizes.
    """

    def weight_names(self) -> tuple[str, ...]:
        """Return torch's names of the matrices: weight_ih_l0, weight_hh_l0, ..."""
        return tuple(name for name in self._flat_weights_names if name.startswith("weight"))

    def plain_names(self) -> Sequence[str]:
        """Return torch's names of weights and biases, in its order."""
        return self._flat_weights_names

    def forward(  # type: ignore[override]  # torch declares overloads
        self, input: Tensor | PackedSequence, hx: State | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """(T, B, I), (B, T, I), (T, I) or packed, and a state -> outputs and last state."""
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"input is {tuple(input.shape)}: expected (T, B, I) or (T, I)")
        batched = input.dim() == 3
        axis = 0 if self.batch_first else 1
        x = input if batched else input.unsqueeze(axis)
        if hx is None:
            hx = self._zero_state(x, x.shape[axis])
        elif not batched:
            hx = (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
        self.check_forward_args(x, hx, None)
        output, h, c = _VF.lstm(
            x,
            hx,
            self._weights(),
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )
        return (output, (h, c)) if batched else (output.squeeze(axis), (h.squeeze(1), c.squeeze(1)))

    def _forward_packed(
        self, packed: PackedSequence, hx: State | None
    ) -> tuple[PackedSequence, State]:
        x, batch_sizes, order, back = packed
        if hx is None:
            hx = self._zero_state(x, int(batch_sizes[0]))
        else:
            hx = self.permute_hidden(hx, order)
        self.check_forward_args(x, hx, batch_sizes)
        output, h, c = _VF.lstm(
            x,
            batch_sizes,
            hx,
            self._weights(),
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
        )
        return PackedSequence(output, batch_sizes, order, back), self.permute_hidden((h, c), back)

    def _zero_state(self, x: Tensor, batch: int) -> State:
        stacked = self.num_layers * (2 if self.bidirectional else 1)
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)
        h, c = (x.new_zeros(stacked, batch, size) for size in sizes)
        return h, c

    def _weights(self) -> list[Tensor]:
        """Return weights and biases in torch's order."""
        return [
            self.effective_weight(name) if name.startswith("weight") else getattr(self, name)
            for name in self._flat_weights_names
        ]

    # The methods below maintain torch's list of flat weights. With storage="gv" it holds v in place
    # of w, for torch's type checks only; the forward above does not use it.

    def _init_flat_weights(self) -> None:
        if not self._computes():
            super()._init_flat_weights()
            return
        self._flat_weights = [
            self._parameters.get(f"{name}_v", self._parameters.get(name))
            for name in self._flat_weights_names
        ]
        self._flat_weight_refs = [None] * len(self._flat_weights)

    def _weights_have_changed(self) -> bool:
        return not self._computes() and bool(
            super()._weights_have_changed()  # type: ignore[no-untyped-call]  # torch
        )

    def flatten_parameters(self) -> None:
        """Give cuDNN one buffer of weights; do nothing with storage="gv", which computes them."""
        if not self._computes():
            super().flatten_parameters()

    def _weights_replaced(self) -> None:
        super()._weights_replaced()
        self._init_flat_weights()

    def _computes(self) -> bool:
        return any(name.endswith("_v") for name in self._parameters)
