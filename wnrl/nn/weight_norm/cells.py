"""torch's recurrent cells with weight normalization: one step of a sequence per call.

The forward is torch's. With storage="gv" each call computes the weights: run a sequence in
`wnrl.nn.shared_weights`, which computes them once, with gradients.
"""

from torch import nn

from wnrl.nn.weight_norm.parametrization import WeightNormalized


class _Cell(WeightNormalized):
    """Mixin of the cells, which have two weights."""

    def weight_names(self) -> tuple[str, ...]:
        """Return torch's names of the matrices."""
        return ("weight_ih", "weight_hh")


class WNLSTMCell(_Cell, nn.LSTMCell):
    """`torch.nn.LSTMCell` with one gain per gate of each unit, in both weights.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`.
    """


class WNGRUCell(_Cell, nn.GRUCell):
    """`torch.nn.GRUCell` with one gain per gate of each unit, in both weights.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`.
    """
