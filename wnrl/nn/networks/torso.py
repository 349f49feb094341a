"""Base class of torsos, and the normalization of what any of them reads.

The record of an architecture is in `wnrl.nn.networks.architecture`.

Dimension key: B batch, F features.
"""

from typing import Any

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
        _check(obs, self.shape, self.dtype)


def _check(obs: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    given: object = obs
    if isinstance(given, fx.Proxy):  # a symbol, where `fold_` traces the forward pass
        return
    if obs.shape[1:] != shape or obs.dtype != dtype:
        raise ValueError(
            f"observations are {tuple(obs.shape)} {obs.dtype}: expected (B, "
            f"{', '.join(map(str, shape))}) {dtype}"
        )


def checked_dtype(dtype: str) -> torch.dtype:
    """Return torch's type of that name.

    Raises:
        UsageError: it is neither uint8 nor float32.
    """
    if dtype not in DTYPES:
        raise UsageError(f"observations of type {dtype!r}: allowed are {', '.join(DTYPES)}")
    return DTYPES[dtype]


class NormalizedObservations(nn.Module):
    """Observations as float32, normalized: (B, *shape) of `dtype` -> (B, *shape) float32.

    Args:
        norm: (B, *shape) float32 -> the same.
        shape: shape of one observation.
        dtype: "uint8", whose numbers stay from 0 to 255, or "float32".
    """

    def __init__(self, norm: nn.Module, shape: tuple[int, ...], dtype: str) -> None:
        super().__init__()
        self.norm = norm
        self.shape = tuple(shape)
        self.dtype = checked_dtype(dtype)

    def forward(self, obs: Tensor) -> Tensor:
        """Return the normalized observations; ValueError for another shape or type."""
        _check(obs, self.shape, self.dtype)
        normalized: Tensor = self.norm(obs.to(torch.float32))
        return normalized


def normalize_input_(torso: Torso, norm: nn.Module, dtype: str) -> Torso:
    """Give a torso the child `input_norm`, which its observations pass first; return the torso.

    Args:
        torso: takes float32; it is called, not its `forward`.
        norm: (B, *shape) float32 -> the same.
        dtype: type of the observations that the torso then takes.
    """
    torso.input_norm = NormalizedObservations(norm, torso.shape, dtype)
    torso.register_forward_pre_hook(_normalize)
    return torso


def _normalize(torso: Any, inputs: tuple[Tensor, ...]) -> Tensor:
    normalized: Tensor = torso.input_norm(inputs[0])
    return normalized
