"""`torch.nn.GRU` with weight normalization. The recurrence itself is torch's kernel.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from collections.abc import Callable, Sequence

from torch import _VF, Tensor, nn

from wnrl.nn.weight_norm.recurrent import RecurrentWeights


class WNGRU(RecurrentWeights, nn.GRU):
    """`torch.nn.GRU` with one gain per row of every weight: each gate of each unit has its own.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`. With storage="gv" each
    `weight_ih_l0` and `weight_hh_l0`, for every layer and direction, becomes `<name>_g` (3H, 1) and
    `<name>_v` (3H, I). Weights are computed once per forward, not per step.
    """

    _kernel = staticmethod(_VF.gru)

    def _state_sizes(self) -> tuple[int, ...]:
        return (self.hidden_size,)

    def _state(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0]

    def _each(self, state: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return change(state)
