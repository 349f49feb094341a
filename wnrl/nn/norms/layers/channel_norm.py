"""Layer normalization over the channels of each position, as flax does on NHWC maps.

Two different normalizations are called LayerNorm: CleanRL's PQN normalizes the whole map with a
scale and shift per element; purejaxql's PQN normalizes the channels of each position with a scale
and shift per channel.
"""

from torch import Tensor, nn


class ChannelLayerNorm(nn.LayerNorm):
    """Zero mean and unit variance over the channels of each position.

        y[b, :, h, w] = (x[b, :, h, w] - mean_C) / sqrt(var_C + eps) weight + bias

    (B, C, H, W) -> the same; on (B, F) it is torch's layer norm. Maps in channels_last are not
    copied.

    Args:
        num_channels: C or F.
        eps: added to the variance; 1e-6 as in flax.

    Raises:
        ValueError: from `forward`, a shape that does not fit.

    Source: Ba et al. 2016, arXiv 1607.06450; flax.linen.LayerNorm, as in purejaxql's PQN (Gallici
    et al. 2024, arXiv 2407.04811).
    """

    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__(num_channels, eps)
        self.num_channels = num_channels

    def forward(self, input: Tensor) -> Tensor:
        """(B, F) or (B, C, H, W) -> the same shape."""
        if input.ndim not in (2, 4) or input.shape[1] != self.num_channels:
            raise ValueError(
                f"input is {tuple(input.shape)}: expected (B, {self.num_channels}) or "
                f"(B, {self.num_channels}, H, W)"
            )
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)
