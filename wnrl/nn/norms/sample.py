"""Records of the normalizations of activations within each sample.

The layers that torch does not have are in `wnrl.nn.norms.layers`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wnrl._settings import SettingError, UsageError, setting
from wnrl._settings.later import Later
from wnrl.nn.norms.record import ONE_PASS, SAMPLE, ActivationFactory, Norm, eps_setting

if TYPE_CHECKING:
    from torch import nn

    from wnrl.nn.norms.layers.channel_norm import ChannelLayerNorm
else:
    nn = Later("torch.nn")
    ChannelLayerNorm = Later("wnrl.nn.norms.layers.channel_norm").ChannelLayerNorm

SMALLEST_GROUP = 4  # values in a linear layer's group: normalizing two leaves only their order


def _whole_map(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape; refuse a single unit, which normalizing each sample would set to 0."""
    if math.prod(shape) < 2:
        raise UsageError(
            "a layer of 1 unit would always become 0 if each sample is normalized: give it more "
            "units, or leave it out of norm_where"
        )
    return shape


def _layer_norms(eps: float, affine: bool = True) -> ActivationFactory:
    def activation(shape: tuple[int, ...]) -> nn.Module:
        return nn.LayerNorm(_whole_map(shape), eps=eps, elementwise_affine=affine)

    return activation


@dataclass(frozen=True)
class LayerSettings:
    """Settings of layer normalization over the whole map."""

    eps: float = eps_setting(1e-5, "torch, as in CleanRL's PQN")


def layer_norm(settings: LayerSettings) -> Norm:
    """Layer normalization of the whole map, one scale and shift per element."""
    return Norm(
        name="layer",
        summary="zero mean and unit variance over each sample's whole map, as in CleanRL's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024 (PQN), 2407.04811",
        cost=ONE_PASS,
        normalizes=SAMPLE,
        activation=_layer_norms(settings.eps),
        settings=settings,
        configure=layer_norm,
    )


@dataclass(frozen=True)
class ChannelSettings:
    """Settings of layer normalization over channels."""

    eps: float = eps_setting(1e-6, "flax, as in purejaxql's PQN")


def layer_norm_of_channels(settings: ChannelSettings) -> Norm:
    """Layer normalization of each position's channels."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        (channels,) = _whole_map(shape[:1])
        return ChannelLayerNorm(channels, settings.eps)

    return Norm(
        name="layer-channel",
        summary="zero mean and unit variance over each position's channels, as in purejaxql's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024 (PQN), 2407.04811",
        cost=ONE_PASS,
        normalizes=SAMPLE,
        activation=activation,
        settings=settings,
        configure=layer_norm_of_channels,
    )


def plain_layers(eps: float) -> ActivationFactory:
    """Layer normalization of the whole map, without scale and shift."""
    return _layer_norms(eps, affine=False)


@dataclass(frozen=True)
class PlainLayerSettings:
    """Settings of layer normalization without scale and shift."""

    eps: float = eps_setting(1e-5, "torch, as in the streaming agents' code")


def layer_norm_without_affine(settings: PlainLayerSettings) -> Norm:
    """Layer normalization of the whole map, without scale and shift."""
    return Norm(
        name="layer-plain",
        summary="like layer, without a learned scale and shift",
        paper="Ba et al. 2016, arXiv 1607.06450; Elsayed et al. 2024 (streaming), 2410.14606",
        cost=ONE_PASS,
        normalizes=SAMPLE,
        activation=plain_layers(settings.eps),
        settings=settings,
        configure=layer_norm_without_affine,
    )


@dataclass(frozen=True)
class RMSSettings:
    """Settings of root mean square normalization."""

    eps: float = setting(
        1e-8,
        "constant added to the mean square, as in torch",
        source="ours; Zhang & Sennrich's code adds 1e-8 to its root",
        above=0,
        maximum=1,
    )


def rms_norm(settings: RMSSettings) -> Norm:
    """Root mean square normalization of the whole map, one scale per element."""
    return Norm(
        name="rms",
        summary="root mean square of 1 over each sample's whole map; the mean stays",
        paper="Zhang & Sennrich 2019, arXiv 1910.07467",
        cost=ONE_PASS,
        normalizes=SAMPLE,
        activation=partial(nn.RMSNorm, eps=settings.eps),
        settings=settings,
        configure=rms_norm,
    )


@dataclass(frozen=True)
class GroupSettings:
    """Settings of group normalization."""

    groups: int = setting(
        32,
        "groups of channels; must divide the channels of every layer",
        source="Wu & He 2018, section 4.1",
        minimum=1,
    )
    eps: float = eps_setting(1e-5, "Wu & He 2018, figure 3")


def group_norm(settings: GroupSettings) -> Norm:
    """Group normalization."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        channels = shape[0]
        if channels % settings.groups:
            raise SettingError(
                "norm.groups",
                f"{settings.groups} does not divide a layer of {channels} units; it must divide "
                "the units of every layer",
            )
        if len(shape) == 1 and channels // settings.groups < SMALLEST_GROUP:
            raise SettingError(
                "norm.groups",
                f"{settings.groups} puts {channels // settings.groups} of {channels} units into "
                f"each group of a linear layer; a group needs at least {SMALLEST_GROUP}: give "
                "fewer groups",
            )
        return nn.GroupNorm(settings.groups, channels, settings.eps)

    return Norm(
        name="group",
        summary="zero mean and unit variance over each group of a sample's channels",
        paper="Wu & He 2018, arXiv 1803.08494",
        cost=ONE_PASS,
        normalizes=SAMPLE,
        activation=activation,
        settings=settings,
        configure=group_norm,
    )
