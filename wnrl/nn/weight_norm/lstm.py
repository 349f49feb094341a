"""`torch.nn.LSTM` with weight normalization, for recurrent networks, which batch norm cannot serve.

Weight normalization needs no statistics of a minibatch, so it computes the same function at every
step of a sequence, in acting and in learning. The cell itself is torch's kernel.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from torch import _VF, Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from wnrl.nn.weight_norm.recurrent import RecurrentWeights

State = tuple[Tensor, Tensor]  # h (layers * directions, B, P or H), c (layers * directions, B, H)


class WNLSTM(RecurrentWeights, nn.LSTM):
    """`torch.nn.LSTM` with one gain per row of every weight: each gate of each unit has its own.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`. With storage="gv" each
    `weight_ih_l0`, `weight_hh_l0` (and `weight_hr_l0` with `proj_size`), for every layer and
    direction, becomes `<name>_g` (4H, 1) and `<name>_v` (4H, I). Weights are computed once per
    forward, not per step. With storage="w" the module computes as torch's, and `WNAdam` normalizes.
    """

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
            self.flat_weights(),
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
            self.flat_weights(),
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
