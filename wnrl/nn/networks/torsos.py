"""The table of architectures, which turn an observation into features. It needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from wnrl._settings import SettingError, UsageError, nearest
from wnrl._settings.later import Later
from wnrl.nn.networks.architecture import DEFAULT_HIDDEN, Architecture, TorsoSettings
from wnrl.nn.norms.record import Norm

if TYPE_CHECKING:
    from wnrl.nn.networks import minatar, mlp, nature, torso
    from wnrl.nn.networks.residual import impala, simba
else:
    impala = Later("wnrl.nn.networks.residual.impala")
    minatar = Later("wnrl.nn.networks.minatar")
    mlp = Later("wnrl.nn.networks.mlp")
    nature = Later("wnrl.nn.networks.nature")
    simba = Later("wnrl.nn.networks.residual.simba")
    torso = Later("wnrl.nn.networks.torso")

NATURE = Architecture(
    name="nature",
    summary="three convolutions and a layer of 512 units, for images of at least 36x36",
    paper="Mnih et al. 2015, Nature 518",
    layers=nature.layer_names,
    build=nature.build,
    takes_hidden=False,
    activation_bytes=12,  # measured on Atari: 350 KB per row of 28 KB
)
MINATAR = Architecture(
    name="minatar",
    summary="a convolution of 16 filters and a layer of 128 units, for images of at least 5x5",
    paper="Young & Tian 2019, arXiv 1903.03176",
    layers=minatar.layer_names,
    build=minatar.build,
    takes_hidden=False,
    activation_bytes=60,
)
IMPALA = Architecture(
    name="impala",
    summary="15 convolutions in residual blocks and a layer of 256 units, for images of any size",
    paper="Espeholt et al. 2018, arXiv 1802.01561",
    layers=impala.layer_names,
    build=impala.build,
    takes_width=True,
    takes_hidden=False,
    activation_bytes=100,  # measured on Atari: 2.8 MB per row of 28 KB
)
MLP = Architecture(
    name="mlp",
    summary="fully connected layers, for any observation",
    paper="-",
    layers=mlp.layer_names,
    build=mlp.build,
    flattens=True,
    activation_bytes=48,
)

SIMBA = Architecture(
    name="simba",
    summary="residual blocks with layer normalization in front, for any observation",
    paper="Lee et al. 2024, arXiv 2410.09754",
    layers=simba.layer_names,
    build=simba.build,
    flattens=True,
    activation_bytes=480,  # ours: a block has ten times as many numbers as a layer of an mlp
)

AUTO = "auto"  # nature or minatar for images, by their size; else mlp
NETWORKS: dict[str, Architecture] = {}


def register_network(architecture: Architecture) -> Architecture:
    """Add an architecture to the table, so that commands and configurations know it by name.

    Raises:
        UsageError: the name is taken or empty.
    """
    name = architecture.name
    if not name or name == AUTO or name in NETWORKS:
        raise UsageError(f"network {name!r} is taken or empty: choose another name")
    NETWORKS[name] = architecture
    return architecture


for _architecture in (NATURE, MINATAR, IMPALA, MLP, SIMBA):
    register_network(_architecture)


def get_network(name: str, shape: tuple[int, ...]) -> Architecture:
    """Return the architecture with this name; `auto` selects the one for such observations.

    Raises:
        UsageError: there is none; the message has the nearest names.
    """
    if name == AUTO:
        if nature.fits(shape):
            return NATURE
        return MINATAR if minatar.fits(shape) else MLP
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
    """Return the names of the layers of a torso from `build_torso`, in order."""
    settings = TorsoSettings(tuple(shape), dtype, tuple(hidden), width)
    return get_network(network, shape).layers(settings)


def build_torso(
    shape: tuple[int, ...],
    dtype: str,
    *,
    norm: Norm,
    network: str = AUTO,
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    width: int = 1,
    placed: Collection[str] | None = None,
) -> torso.Torso:
    """Build a torso as torch initializes it, from the global generator.

    Args:
        shape: shape of one observation.
        dtype: "uint8" or "float32", as in `ObservationSpec`.
        norm: normalization of the layers in `placed`.
        network: a name in `NETWORKS`, or `auto` (for images nature from 36x36 on and minatar from
            5x5 on, else mlp).
        hidden: units of an MLP's layers; other architectures ignore it.
        width: multiplies channels in architectures that take it.
        placed: names of the layers to normalize; None for all. The others are plain.

    Raises:
        UsageError: an unknown architecture, or a type, width or units that it cannot have.
    """
    torso.checked_dtype(dtype)
    architecture = get_network(network, shape)
    if width < 1:
        raise SettingError("width", f"{width} is out of range; it must be at least 1")
    if width != 1 and not architecture.takes_width:
        takers = ", ".join(name for name, each in NETWORKS.items() if each.takes_width)
        raise SettingError(
            "width",
            f"{width} does not apply to {architecture.name}, only to {takers}: leave it out",
        )
    settings = TorsoSettings(tuple(shape), dtype, tuple(hidden), width)
    return architecture.build(settings, norm, placed)
