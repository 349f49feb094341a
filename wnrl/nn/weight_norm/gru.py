"""`torch.nn.GRU` with weight normalization. The recurrence itself is torch's kernel.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from torch import _VF, Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from wnrl.nn.weight_norm.recurrent import RecurrentWeights


class WNGRU(RecurrentWeights, nn.GRU):
    """`torch.nn.GRU` with one gain per row of every weight: each gate of each unit has its own.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`. With storage="gv" each
    `weight_ih_l0` and `weight_hh_l0`, for every layer and direction, becomes `<name>_g` (3H, 1) and
    `<name>_v` (3H, I). Weights are computed once per forward, not per step.
    """

    def forward(  # type: ignore[override]  # torch declares overloads
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """(T, B, I), (B, T, I), (T, I) or packed, and h (layers, B, H) -> outputs and last h."""
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
            hx = hx.unsqueeze(1)
        self.check_forward_args(x, hx, None)
        output, h = _VF.gru(
            x,
            hx,
            self.flat_weights(),
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
            self.batch_first,
        )
        return (output, h) if batched else (output.squeeze(axis), h.squeeze(1))

    def _forward_packed(
        self, packed: PackedSequence, hx: Tensor | None
    ) -> tuple[PackedSequence, Tensor]:
        x, batch_sizes, order, back = packed
        if hx is None:
            hx = self._zero_state(x, int(batch_sizes[0]))
        else:
            hx = self.permute_hidden(hx, order)
        self.check_forward_args(x, hx, batch_sizes)
        output, h = _VF.gru(
            x,
            batch_sizes,
            hx,
            self.flat_weights(),
            self.bias,
            self.num_layers,
            self.dropout,
            self.training,
            self.bidirectional,
        )
        return PackedSequence(output, batch_sizes, order, back), self.permute_hidden(h, back)

    def _zero_state(self, x: Tensor, batch: int) -> Tensor:
        stacked = self.num_layers * (2 if self.bidirectional else 1)
        return x.new_zeros(stacked, batch, self.hidden_size)
