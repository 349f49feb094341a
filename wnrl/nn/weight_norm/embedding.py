"""`torch.nn.Embedding` with weight normalization: the vector of each index is a row with a gain.

A row takes the place of a unit's weights. So it depends on its own g and v only, and an output
layer, whose unit of that index has the same weights, can share them.

Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.weight_norm.parametrization import WeightNormalized


class WNEmbedding(WeightNormalized, nn.Embedding):
    """`torch.nn.Embedding` with one gain per row: indices (...) -> vectors (..., D).

    Arguments as in torch, keyword-only ones as in `WeightNormalized`; `weight_g` is (V, 1),
    `weight_v` (V, D). The row of `padding_idx` starts as zeros and gets no gradient, so it stays
    zero. With storage="w", `max_norm` shortens rows of w as in torch, which gives them new gains.
    With storage="gv" each forward computes all rows, or `wnrl.nn.shared_weights` does so once.

    Raises:
        UsageError: sparse=True, because no optimizer of `wnrl.optim` steps a part of the rows, or
            max_norm with storage="gv".
    """

    @classmethod
    def check_layer(cls, layer: nn.Module, storage: str) -> None:
        """Raise a UsageError for options of torch's layer that the storage does not support."""
        assert isinstance(layer, nn.Embedding)
        shown = f"Embedding({layer.num_embeddings}, {layer.embedding_dim})"
        if layer.sparse:
            raise UsageError(
                f"{shown} has sparse=True, and weight normalization needs the gradient of the "
                "whole weight: set sparse=False, or keep torch's layer (`where` of convert_)"
            )
        if storage == "gv" and layer.max_norm is not None:
            raise UsageError(
                f"{shown} has max_norm={layer.max_norm}, which writes to a weight that "
                "storage='gv' computes: use storage='w' or max_norm=None, or keep torch's layer "
                "(`where` of convert_)"
            )

    def forward(self, input: Tensor) -> Tensor:
        """(...) -> (..., D)."""
        return nn.functional.embedding(
            input,
            self.effective_weight(),
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )

    def store_w_(self, name: str, weight: nn.Parameter) -> None:
        """Replace g and v by an ordinary Parameter, in which a zero row of padding stays zero."""
        gain = self.gv_parameters(name)[0]
        super().store_w_(name, weight)
        if self.padding_idx is not None:
            weight[self.padding_idx].mul_(gain[self.padding_idx] != 0)

    def _from_gain(self, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts; gain="log" has no g = 0, so a zero row of padding gets v = 0."""
        gain, v = super()._from_gain(g, v)
        if self.gain == "log" and self.padding_idx is not None:
            index = torch.arange(len(v), device=v.device).reshape(-1, 1)  # (V, 1)
            v = torch.where((index == self.padding_idx) & (g == 0), 0.0, v)
        return gain, v
