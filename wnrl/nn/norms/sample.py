"""Records of the normalizations of activations within each sample."""

import math
from dataclasses import dataclass
from functools import partial

from torch import nn

from wnrl._settings import UsageError, setting
from wnrl.nn.norms.layers.channel_norm import ChannelLayerNorm
from wnrl.nn.norms.record import ONE_PASS, ActivationFactory, Norm, eps_setting

SMALLEST_GROUP = 4  # values in a linear layer's group: of two, only the order would be left


def _whole_map(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape, if a sample's mean and variance over it leave something."""
    if math.prod(shape) < 2:
        raise UsageError(
            "a layer of 1 unit would always become 0 under a normalization of each sample; give "
            "it more units, or leave it out by --norm-where"
        )
    return shape


def _layer_norms(eps: float, affine: bool = True) -> ActivationFactory:
    def activation(shape: tuple[int, ...]) -> nn.Module:
        return nn.LayerNorm(_whole_map(shape), eps=eps, elementwise_affine=affine)

    return activation


@dataclass(frozen=True)
class LayerSettings:
    """Of layer normalization over the whole map."""

    eps: float = eps_setting(1e-5, "torch, as in CleanRL's PQN")


def layer_norm(settings: LayerSettings) -> Norm:
    """Layer normalization of the whole map, one scale and shift per element."""
    return Norm(
        name="layer",
        summary="each sample's whole map to zero mean and unit variance, as CleanRL's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024 (PQN), 2407.04811",
        cost=ONE_PASS,
        activation=_layer_norms(settings.eps),
        settings=settings,
        configure=layer_norm,
    )


@dataclass(frozen=True)
class ChannelSettings:
    """Of layer normalization over channels."""

    eps: float = eps_setting(1e-6, "flax, as in purejaxql's PQN")


def layer_norm_of_channels(settings: ChannelSettings) -> Norm:
    """Layer normalization of each position's channels."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        (channels,) = _whole_map(shape[:1])
        return ChannelLayerNorm(channels, settings.eps)

    return Norm(
        name="layer-channel",
        summary="each position's channels to zero mean and unit variance, as purejaxql's PQN",
        paper="Ba et al. 2016, arXiv 1607.06450; Gallici et al. 2024 (PQN), 2407.04811",
        cost=ONE_PASS,
        activation=activation,
        settings=settings,
        configure=layer_norm_of_channels,
    )


def plain_layers(eps: float) -> ActivationFactory:
    """Layer normalization of the whole map, without scale and shift."""
    return _layer_norms(eps, affine=False)


@dataclass(frozen=True)
class PlainLayerSettings:
    """Of layer normalization without scale and shift."""

    eps: float = eps_setting(1e-5, "torch, as in the streaming agents' code")


def layer_norm_without_affine(settings: PlainLayerSettings) -> Norm:
    """Layer normalization of the whole map, without scale and shift."""
    return Norm(
        name="layer-plain",
        summary="as layer, without a scale and shift that learn",
        paper="Ba et al. 2016, arXiv 1607.06450; Elsayed et al. 2024 (streaming), 2410.14606",
        cost=ONE_PASS,
        activation=plain_layers(settings.eps),
        settings=settings,
        configure=layer_norm_without_affine,
    )


@dataclass(frozen=True)
class RMSSettings:
    """Of root mean square normalization."""

    eps: float = setting(
        1e-8,
        "added to the mean square, as in torch",
        source="ours; Zhang & Sennrich's code adds 1e-8 to its root",
        above=0,
        maximum=1,
    )


def rms_norm(settings: RMSSettings) -> Norm:
    """Root mean square normalization of the whole map, one scale per element."""
    return Norm(
        name="rms",
        summary="each sample's whole map to a root mean square of 1, its mean left alone",
        paper="Zhang & Sennrich 2019, arXiv 1910.07467",
        cost=ONE_PASS,
        activation=partial(nn.RMSNorm, eps=settings.eps),
        settings=settings,
        configure=rms_norm,
    )


@dataclass(frozen=True)
class GroupSettings:
    """Of group normalization."""

    groups: int = setting(
        32, "groups of channels; it divides them", source="Wu & He 2018, section 4.1", minimum=1
    )
    eps: float = eps_setting(1e-5, "Wu & He 2018, figure 3")


def group_norm(settings: GroupSettings) -> Norm:
    """Group normalization."""

    def activation(shape: tuple[int, ...]) -> nn.Module:
        channels = shape[0]
        if channels % settings.groups:
            raise UsageError(
                f"--norm.groups {settings.groups} does not divide a layer of {channels} units; "
                "give a number that divides every layer's"
            )
        if len(shape) == 1 and channels // settings.groups < SMALLEST_GROUP:
            raise UsageError(
                f"--norm.groups {settings.groups} leaves {channels // settings.groups} of "
                f"{channels} units to a group in a linear layer, and little of what they say: at "
                f"least {SMALLEST_GROUP} are needed; give fewer groups"
            )
        return nn.GroupNorm(settings.groups, channels, settings.eps)

    return Norm(
        name="group",
        summary="each sample's groups of channels to zero mean and unit variance",
        paper="Wu & He 2018, arXiv 1803.08494",
        cost=ONE_PASS,
        activation=activation,
        settings=settings,
        configure=group_norm,
    )
