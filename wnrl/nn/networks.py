"""Networks: torsos that turn observations into features, and heads that turn those into values.

Hidden layers and what normalizes them come from a `Norm`; heads are plain layers. Pixels arrive as
uint8 and are divided by 255 here and nowhere else.

Dimension key: B batch, A actions, C/H/W of an observation, F features.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from wnrl.errors import UsageError
from wnrl.nn.initialization import owned_global_randomness, reset_parameters_
from wnrl.nn.norms import Norm

NATURE_CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # (filters, kernel size, stride)
NATURE_FEATURES = 512
NATURE_SMALLEST = 36  # pixels a side: what the three convolutions need for one output
DEFAULT_HIDDEN = (64, 64)


class NatureTorso(nn.Module):
    """The network of the Nature paper without its output: (B, C, H, W) uint8 -> (B, 512).

    Weights and activations are channels_last, which the CPU's convolutions need to be fast.

    Args:
        shape: (C, H, W) of one observation, H and W at least 36; Atari's is (4, 84, 84).
        norm: makes the layers and normalizes before each ReLU.

    Source: Mnih et al. 2015, Nature 518, Methods, "Model architecture".
    """

    def __init__(self, shape: tuple[int, int, int], norm: Norm) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < NATURE_SMALLEST:
            raise ValueError(
                f"shape is {shape}: height and width must be at least {NATURE_SMALLEST}"
            )
        self.shape = tuple(shape)
        self.num_features = NATURE_FEATURES
        layers: list[nn.Module] = []
        for filters, kernel, stride in NATURE_CONVOLUTIONS:
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            layers += [
                norm.conv(channels, filters, kernel, stride),
                *_activation(norm, (filters, height, width)),
            ]
            channels = filters
        layers += [
            nn.Flatten(),
            norm.linear(channels * height * width, NATURE_FEATURES),
            *_activation(norm, (NATURE_FEATURES,)),
        ]
        self.layers = nn.Sequential(*layers)
        self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub

    def forward(self, obs: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, 512)."""
        _check_obs(obs, self.shape, torch.uint8)
        scaled = obs.to(torch.float32, memory_format=torch.channels_last) / 255
        features: Tensor = self.layers(scaled)
        return features


class MLPTorso(nn.Module):
    """Fully connected ReLU layers over a flattened observation: (B, *shape) -> (B, F).

    Args:
        shape: of one observation.
        dtype: "float32", or "uint8" for small frames, which are divided by 255.
        hidden: units of each layer, at least one layer; F is the last.
        norm: makes the layers and normalizes before each ReLU.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: str, hidden: Sequence[int], norm: Norm
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise UsageError(
                f"hidden is {tuple(hidden)}: give one or more layers of 1 unit or more"
            )
        self.shape = tuple(shape)
        self.dtype = _checked_dtype(dtype)
        self.num_features = hidden[-1]
        layers: list[nn.Module] = [nn.Flatten()]
        units_in = math.prod(shape)
        for units in hidden:
            layers += [norm.linear(units_in, units), *_activation(norm, (units,))]
            units_in = units
        self.layers = nn.Sequential(*layers)

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

    def __init__(self, num_features: int, num_actions: int) -> None:
        super().__init__()
        self.value = nn.Linear(num_features, 1)
        self.advantage = nn.Linear(num_features, num_actions)

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


def build_torso(
    shape: tuple[int, ...], dtype: str, *, norm: Norm, hidden: Sequence[int] = DEFAULT_HIDDEN
) -> NatureTorso | MLPTorso:
    """The Nature torso for uint8 images of at least 36x36, else an MLP with `hidden` layers.

    It is initialized by torch, from the global generator: see `build_q_network` for the way
    around.
    """
    _checked_dtype(dtype)
    if dtype == "uint8" and len(shape) == 3 and min(shape[1:]) >= NATURE_SMALLEST:
        return NatureTorso((shape[0], shape[1], shape[2]), norm)
    return MLPTorso(shape, dtype, hidden, norm)


def build_q_network(
    shape: tuple[int, ...],
    dtype: str,
    num_actions: int,
    *,
    norm: Norm,
    hidden: Sequence[int] = DEFAULT_HIDDEN,
    dueling: bool = False,
    generator: torch.Generator,
) -> QNetwork:
    """A Q network for an observation, initialized from `generator` alone (torch's distributions).

    Args:
        shape: of one observation; see `build_torso` for what it chooses.
        dtype: "uint8" or "float32", as in `ObservationSpec`.
        num_actions: A.
        norm: of the hidden layers.
        hidden: units of an MLP's layers; not used by the Nature torso.
        dueling: use `DuelingHead` instead of one linear layer.
        generator: a CPU generator. The global one is left as it was.

    Raises:
        UsageError: on a type, layer width or number of actions that cannot be.
    """
    if num_actions < 1:
        raise UsageError(f"num_actions is {num_actions}: it must be at least 1")
    with owned_global_randomness(generator):
        torso = build_torso(shape, dtype, norm=norm, hidden=hidden)
        head = (DuelingHead if dueling else nn.Linear)(torso.num_features, num_actions)
        network = QNetwork(torso, head)
    reset_parameters_(network, generator)
    return network


def _activation(norm: Norm, shape: tuple[int, ...]) -> list[nn.Module]:
    """What follows a layer: the normalization, if any, and the ReLU."""
    normalization = norm.activation(shape)
    return [nn.ReLU()] if normalization is None else [normalization, nn.ReLU()]


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
