"""The table of architectures: what a network can be from the observation to its features."""

from collections.abc import Collection, Sequence

from wnrl._settings import UsageError, nearest
from wnrl.nn.networks import nature
from wnrl.nn.networks.impala import IMPALA
from wnrl.nn.networks.mlp import MLP
from wnrl.nn.networks.nature import NATURE
from wnrl.nn.networks.torso import DEFAULT_HIDDEN, Architecture, Torso, TorsoSettings, checked_dtype
from wnrl.nn.norms.record import Norm

AUTO = "auto"  # nature for uint8 images of at least 36x36, else mlp
NETWORKS: dict[str, Architecture] = {}


def register_network(architecture: Architecture) -> Architecture:
    """Add an architecture of one's own to the table.

    Raises:
        UsageError: if the name is taken or empty.
    """
    name = architecture.name
    if not name or name == AUTO or name in NETWORKS:
        raise UsageError(f"network {name!r} is taken or empty: choose another name")
    NETWORKS[name] = architecture
    return architecture


for _architecture in (NATURE, IMPALA, MLP):
    register_network(_architecture)


def get_network(name: str, shape: tuple[int, ...], dtype: str) -> Architecture:
    """The architecture of that name; of `auto` the one for such observations.

    Raises:
        UsageError: if there is none, with the nearest names.
    """
    if name == AUTO:
        return NATURE if nature.fits(shape, dtype) else MLP
    if name not in NETWORKS:
        raise UsageError(
            f"unknown network {name!r}: allowed are {AUTO}, {', '.join(NETWORKS)}"
            + nearest(name, (AUTO, *NETWORKS))
        )
    return NETWORKS[name]


def torso_layers(
    shape: tuple[int, ...],
    dtype: str,
    *,
    network: str = AUTO,
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    width: int = 1,
) -> tuple[str, ...]:
    """The names of the layers that `build_torso` gives a torso, in order."""
    settings = TorsoSettings(tuple(shape), dtype, tuple(hidden), width)
    return get_network(network, shape, dtype).layers(settings)


def build_torso(
    shape: tuple[int, ...],
    dtype: str,
    *,
    norm: Norm,
    network: str = AUTO,
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    width: int = 1,
    placed: Collection[str] | None = None,
) -> Torso:
    """A torso as torch initializes it, from the global generator (`build_q_network` does not).

    Args:
        shape: of one observation.
        dtype: "uint8" or "float32", as in `ObservationSpec`.
        norm: of the layers that are placed.
        network: `auto` (nature for uint8 images of at least 36x36, else mlp) or a name in
            `NETWORKS`.
        hidden: units of an MLP's layers; of no effect on architectures that have their own.
        width: multiplies channels, in architectures that take it.
        placed: the names of the layers that `norm` makes; None for all. The others are plain.

    Raises:
        UsageError: on an architecture, type, width or number of units that cannot be.
    """
    checked_dtype(dtype)
    architecture = get_network(network, shape, dtype)
    if width < 1 or (width != 1 and not architecture.takes_width):
        takers = ", ".join(name for name, each in NETWORKS.items() if each.takes_width)
        raise UsageError(
            f"width {width} for the network {architecture.name}: it must be a whole number of at "
            f"least 1, and networks other than {takers} have no other width than 1"
        )
    settings = TorsoSettings(tuple(shape), dtype, tuple(hidden), width)
    return architecture.build(settings, norm, placed)
