"""The record of an architecture, which needs no torch.

The table of architectures is in `wnrl.nn.networks.torsos`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wnrl.nn.networks.torso import Torso
    from wnrl.nn.norms.record import Norm

DEFAULT_HIDDEN = (64, 64)


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
    flattens: bool = False  # whether an image becomes a vector first
    # Bytes of an update per number of an observation: activations, their gradients; with width 1.
    activation_bytes: int = 12
