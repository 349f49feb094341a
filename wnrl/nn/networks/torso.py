"""Base class of torsos, and the record of an architecture.

The table of architectures is in `wnrl.nn.networks.torsos`.

Dimension key: B batch, F features.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.nn.norms.record import Norm

DTYPES = {"uint8": torch.uint8, "float32": torch.float32}
DEFAULT_HIDDEN = (64, 64)


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
        if obs.shape[1:] != self.shape or obs.dtype != self.dtype:
            raise ValueError(
                f"observations are {tuple(obs.shape)} {obs.dtype}: expected (B, "
                f"{', '.join(map(str, self.shape))}) {self.dtype}"
            )


@dataclass(frozen=True)
class TorsoSettings:
    """Settings that the layers of a torso may depend on, in any architecture."""

    shape: tuple[int, ...]  # shape of one observation
    dtype: str  # "uint8" or "float32"
    hidden: tuple[int, ...] = DEFAULT_HIDDEN  # units of each fully connected layer
    width: int = 1  # multiplies channels


@dataclass(frozen=True)
class Architecture:
    """One kind of torso. Builders of networks and agents use its record, never its name."""

    name: str
    summary: str  # one sentence
    paper: str
    layers: Callable[[TorsoSettings], tuple[str, ...]]  # names of the layers, in order
    # The norm makes the layers whose names are in the collection (None: all); others are plain.
    build: Callable[[TorsoSettings, Norm, Collection[str] | None], Torso]
    takes_width: bool = False  # whether `width` may differ from 1
    takes_hidden: bool = True  # whether `hidden` has an effect
    # Bytes of an update per byte of an observation: activations and their gradients, with width 1.
    activation_bytes: int = 12


def checked_dtype(dtype: str) -> torch.dtype:
    """Return torch's type of that name.

    Raises:
        UsageError: it is neither uint8 nor float32.
    """
    if dtype not in DTYPES:
        raise UsageError(f"observations of type {dtype!r}: allowed are {', '.join(DTYPES)}")
    return DTYPES[dtype]
