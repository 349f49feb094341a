"""Networks: torsos that turn observations into features, and heads that turn those into values.

Layers and what normalizes them come from a `Norm` where it is placed, and are plain elsewhere.
Pixels arrive as uint8 and are divided by 255 here and nowhere else.

Every layer has a name, by which it is placed and found: `torso.layers.conv1`, `torso.layers.fc`.

Dimension key: B batch, A actions, C/H/W of an observation, F features.
"""

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from wnrl.errors import UsageError
from wnrl.nn.initialization import owned_global_randomness, reset_parameters_
from wnrl.nn.named_layers import NamedLayers
from wnrl.nn.norm import Norm
from wnrl.nn.norms import NONE
from wnrl.nn.placement import Layout, place

NATURE_CONVOLUTIONS = {"conv1": (32, 8, 4), "conv2": (64, 4, 2), "conv3": (64, 3, 1)}
# name: (filters, kernel size, stride)
NATURE_LAYERS = (*NATURE_CONVOLUTIONS, "fc")
NATURE_FEATURES = 512
NATURE_SMALLEST = 36  # pixels a side: what the three convolutions need for one output
DEFAULT_HIDDEN = (64, 64)


class NatureTorso(nn.Module):
    """The network of the Nature paper without its output: (B, C, H, W) uint8 -> (B, 512).

    Weights and activations are channels_last, which the CPU's convolutions need to be fast.

    Its layers are conv1, conv2, conv3 and fc.

    Args:
        shape: (C, H, W) of one observation, H and W at least 36; Atari's is (4, 84, 84).
        norm: makes the layers and normalizes before each ReLU.
        placed: the names of the layers that it makes; None for all. The others are plain.

    Source: Mnih et al. 2015, Nature 518, Methods, "Model architecture".
    """

    def __init__(
        self, shape: tuple[int, int, int], norm: Norm, placed: Collection[str] | None = None
    ) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < NATURE_SMALLEST:
            raise ValueError(
                f"shape is {shape}: height and width must be at least {NATURE_SMALLEST}"
            )
        self.shape = tuple(shape)
        self.num_features = NATURE_FEATURES
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for name, (filters, kernel, stride) in NATURE_CONVOLUTIONS.items():
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            own = _at(name, norm, placed)
            layers[name] = own.conv(channels, filters, kernel, stride)
            _add_activation(layers, name, own, (filters, height, width))
            channels = filters
        own = _at("fc", norm, placed)
        layers["flatten"] = nn.Flatten()
        layers["fc"] = own.linear(channels * height * width, NATURE_FEATURES)
        _add_activation(layers, "fc", own, (NATURE_FEATURES,))
        self.layers = NamedLayers(layers)
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub

    def forward(self, obs: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, 512)."""
        _check_obs(obs, self.shape, torch.uint8)
        scaled = obs.to(torch.float32, memory_format=torch.channels_last) / 255
        features: Tensor = self.layers(scaled)
        return features


class MLPTorso(nn.Module):
    """Fully connected ReLU layers over a flattened observation: (B, *shape) -> (B, F).

    Its layers are hidden1, hidden2 and so on.

    Args:
        shape: of one observation.
        dtype: "float32", or "uint8" for small frames, which are divided by 255.
        hidden: units of each layer, at least one layer; F is the last.
        norm: makes the layers and normalizes before each ReLU.
        placed: the names of the layers that it makes; None for all. The others are plain.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: str,
        hidden: Sequence[int],
        norm: Norm,
        placed: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise UsageError(
                f"hidden is {tuple(hidden)}: give one or more layers of 1 unit or more"
            )
        self.shape = tuple(shape)
        self.dtype = _checked_dtype(dtype)
        self.num_features = hidden[-1]
        layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
        units_in = math.prod(shape)
        for name, units in zip(_hidden_names(hidden), hidden, strict=True):
            own = _at(name, norm, placed)
            layers[name] = own.linear(units_in, units)
            _add_activation(layers, name, own, (units,))
            units_in = units
        self.layers = NamedLayers(layers)

    def forward(self, obs: Tensor) -> Tensor:
        """(B, *shape) of the dtype given -> (B, F)."""
        _check_obs(obs, self.shape, self.dtype)
        features: Tensor = self.layers(obs / 255 if self.dtype == torch.uint8 else obs)
        return features


class DuelingHead(nn.Module):
    """Q = V + A - mean_a A from shared features, one linear layer each: (B, F) -> (B, A).

    Source: Wang et al. 2016, arXiv 1511.06581, eq. 9 (there each stream has a hidden layer of its
    own; here both share the torso's last).
    """

    def __init__(
        self, num_features: int, num_actions: int, norm: Norm = NONE, placed: Collection[str] = ()
    ) -> None:
        """Make both layers, by `norm` where `placed` holds their name: value, advantage."""
        super().__init__()
        self.value = _at("value", norm, placed).linear(num_features, 1)
        self.advantage = _at("advantage", norm, placed).linear(num_features, num_actions)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, A)."""
        advantage: Tensor = self.advantage(features)
        value: Tensor = self.value(features)
        return value + advantage - advantage.mean(dim=1, keepdim=True)  # eq. 9


class QNetwork(nn.Module):
    """Action values: a torso and a head. (B, *shape) -> (B, A)."""

    def __init__(self, torso: NatureTorso | MLPTorso, head: nn.Module) -> None:
        super().__init__()
        self.torso = torso
        self.head = head

    def forward(self, obs: Tensor) -> Tensor:
        """(B, *shape) -> (B, A)."""
        q: Tensor = self.head(self.torso(obs))
        return q


def torso_layers(
    shape: tuple[int, ...], dtype: str, hidden: Sequence[int] = DEFAULT_HIDDEN
) -> tuple[str, ...]:
    """The names of the layers that `build_torso` gives a torso, in order."""
    return NATURE_LAYERS if _takes_nature(shape, dtype) else _hidden_names(hidden)


def build_torso(
    shape: tuple[int, ...],
    dtype: str,
    *,
    norm: Norm,
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    placed: Collection[str] | None = None,
) -> NatureTorso | MLPTorso:
    """The Nature torso for uint8 images of at least 36x36, else an MLP with `hidden` layers.

    It is initialized by torch, from the global generator: see `build_q_network` for the way
    around. `placed` as in the torsos.
    """
    _checked_dtype(dtype)
    if _takes_nature(shape, dtype):
        return NatureTorso((shape[0], shape[1], shape[2]), norm, placed)
    return MLPTorso(shape, dtype, hidden, norm, placed)


def build_q_network(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    where: str = "torso",
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    dueling: bool = False,
    generator: torch.Generator,
) -> QNetwork:
    """A Q network for an observation, initialized from `generator` alone (torch's distributions).

    Args:
        shape: as in `assemble_q_network`.
        dtype: as there.
        num_actions: A.
        norm: as there.
        where: as there.
        hidden: as there.
        dueling: as there.
        generator: a CPU generator. The global one is left as it was.

    Raises:
        UsageError: on a type, layer width, place or number of actions that cannot be.
    """
    with owned_global_randomness(generator):
        network = assemble_q_network(
            shape, dtype, num_actions, norm=norm, where=where, hidden=hidden, dueling=dueling
        )
    reset_parameters_(network, generator)
    norm.initialize(network)
    return network


def assemble_q_network(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    where: str = "torso",
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    dueling: bool = False,
) -> QNetwork:
    """A Q network for an observation, as torch initializes it, from the global generator.

    Args:
        shape: of one observation; see `build_torso` for what it chooses.
        dtype: "uint8" or "float32", as in `ObservationSpec`.
        num_actions: A.
        norm: of the layers that `where` names.
        where: words and names of `wnrl.nn.placement.place`: torso, head, penultimate, all, a
            layer's name. The head's layer is `head`, of a dueling one `value` and `advantage`.
        hidden: units of an MLP's layers; not used by the Nature torso.
        dueling: use `DuelingHead` instead of one linear layer.

    Raises:
        UsageError: on a type, layer width, place or number of actions that cannot be.
    """
    if num_actions < 1:
        raise UsageError(f"num_actions is {num_actions}: it must be at least 1")
    outputs = ("value", "advantage") if dueling else ("head",)
    layout = Layout({"torso": torso_layers(shape, dtype, hidden)}, {"head": outputs})
    placed = place(where, norm, layout)
    torso = build_torso(shape, dtype, norm=norm, hidden=hidden, placed=placed)
    head: nn.Module
    if dueling:
        head = DuelingHead(torso.num_features, num_actions, norm, placed)
    else:
        head = _at("head", norm, placed).linear(torso.num_features, num_actions)
    return QNetwork(torso, head)


def _at(name: str, norm: Norm, placed: Collection[str] | None) -> Norm:
    """What makes the layer of that name."""
    return norm if placed is None or name in placed else NONE


def _add_activation(
    layers: "OrderedDict[str, nn.Module]", name: str, norm: Norm, shape: tuple[int, ...]
) -> None:
    """What follows a layer: the normalization, if any, and the ReLU."""
    normalization = norm.activation(shape)
    if normalization is not None:
        layers[f"{name}_norm"] = normalization
    layers[f"{name}_relu"] = nn.ReLU()


def _hidden_names(hidden: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"hidden{index + 1}" for index in range(len(hidden)))


def _takes_nature(shape: tuple[int, ...], dtype: str) -> bool:
    return dtype == "uint8" and len(shape) == 3 and min(shape[1:]) >= NATURE_SMALLEST


def _checked_dtype(dtype: str) -> torch.dtype:
    known = {"uint8": torch.uint8, "float32": torch.float32}
    if dtype not in known:
        raise UsageError(f"observations of type {dtype!r}: allowed are {', '.join(known)}")
    return known[dtype]


def _check_obs(obs: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if obs.shape[1:] != shape or obs.dtype != dtype:
        raise ValueError(
            f"observations are {tuple(obs.shape)} {obs.dtype}: expected (B, "
            f"{', '.join(map(str, shape))}) {dtype}"
        )
