"""Base class of torsos; the record of an architecture is in `wnrl.nn.networks.architecture`.

Dimension key: B batch, F features.
"""

import torch
from torch import Tensor, fx, nn

from wnrl._settings import UsageError

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


class Torso(nn.Module):
    """Maps observations of one shape and type to features: (B, *shape) -> (B, F).

    Args:
        shape: shape of one observation.
        dtype: "uint8", divided by 255 in the forward pass and nowhere else, or "float32".
        num_features: F.

    Raises:
        UsageError: another type.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, num_features: int) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.dtype = checked_dtype(dtype)
        self.num_features = num_features

    def check(self, obs: Tensor) -> None:
        """Raise ValueError unless observations are (B, *shape) of the torso's type."""
        given: object = obs
        if isinstance(given, fx.Proxy):  # a symbol, where `fold_` traces the forward pass
            return
        if obs.shape[1:] != self.shape or obs.dtype != self.dtype:
            raise ValueError(
                f"observations are {tuple(obs.shape)} {obs.dtype}: expected (B, "
                f"{', '.join(map(str, self.shape))}) {self.dtype}"
            )


def checked_dtype(dtype: str) -> torch.dtype:
    """Return torch's type of that name.

    Raises:
        UsageError: it is neither uint8 nor float32.
    """
    if dtype not in DTYPES:
        raise UsageError(f"observations of type {dtype!r}: allowed are {', '.join(DTYPES)}")
    return DTYPES[dtype]
