"""`torch.nn.LSTM` with weight normalization, for recurrent networks, which batch norm cannot serve.

Weight normalization needs no statistics of a minibatch, so it computes the same function at every
step of a sequence, in acting and in learning. The cell itself is torch's kernel.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from collections.abc import Callable, Sequence

from torch import _VF, Tensor, nn

from wnrl.nn.weight_norm.recurrent import RecurrentWeights

State = tuple[Tensor, Tensor]  # h (layers * directions, B, P or H), c (layers * directions, B, H)


class WNLSTM(RecurrentWeights, nn.LSTM):
    """`torch.nn.LSTM` with one gain per row of every weight: each gate of each unit has its own.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`. With storage="gv" each
    `weight_ih_l0`, `weight_hh_l0` (and `weight_hr_l0` with `proj_size`), for every layer and
    direction, becomes `<name>_g` (4H, 1) and `<name>_v` (4H, I). Weights are computed once per
    forward, not per step. With storage="w" the module computes as torch's, and `WNAdam` normalizes.
    """

    _kernel = staticmethod(_VF.lstm)

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.proj_size or self.hidden_size, self.hidden_size)

    def _state(self, parts: Sequence[Tensor]) -> State:
        h, c = parts
        return h, c

    def _each(self, state: State, change: Callable[[Tensor], Tensor]) -> State:
        return change(state[0]), change(state[1])
