"""Random initial weights, drawn from a given generator.

Initialization from a batch of observations is in `data_initialization`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.nn.norms.layers.gates import Gated
from wnrl.nn.norms.layers.standardization import Standardized
from wnrl.nn.weight_norm.layers import write_weight_
from wnrl.nn.weight_norm.lstm import WNLSTM
from wnrl.optim.arguments import PAPER_WEIGHT_STD


@contextmanager
def owned_global_randomness(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global CPU generator from `generator` inside the scope; restore it afterwards.

    Module constructors draw from the global generator. The state of `generator` does not change.
    """
    state = torch.get_rng_state()
    try:
        # torch.manual_seed would seed the accelerators' generators as well.
        torch.default_generator.manual_seed(generator.initial_seed())
        yield
    finally:
        torch.set_rng_state(state)


@torch.no_grad()
def reset_parameters_(network: nn.Module, generator: torch.Generator) -> None:
    """Initialize every layer as torch does by default, but draw from `generator` (CPU) only.

    Linear and convolution layers, normalized or not, draw w and b from
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)) in the order of `network.modules()`: with the same seed all
    normalizations of weights start as the same function. Other layers, including LSTMs, use their
    `reset_parameters()`.
    """
    with owned_global_randomness(generator):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                _draw_(module, generator)
                if isinstance(module, Standardized | Gated):
                    module.reset_gain_()
            elif callable(reset := getattr(module, "reset_parameters", None)):
                reset()


def _draw_(layer: nn.Linear | nn.Conv2d, generator: torch.Generator) -> None:
    shape = layer.weight.shape
    fan_in = math.prod(shape[1:])
    # kaiming_uniform_ with a = sqrt(5) is U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
    bound = 1 / math.sqrt(fan_in)
    write_weight_(layer, torch.empty(shape).uniform_(-bound, bound, generator=generator))
    if layer.bias is not None:
        layer.bias.copy_(torch.empty(shape[0]).uniform_(-bound, bound, generator=generator))


NO_GAINS: Mapping[nn.Module, float] = {}


@torch.no_grad()
def init_orthogonal_(
    network: nn.Module,
    generator: torch.Generator,
    *,
    gain: float = math.sqrt(2),
    gains: Mapping[nn.Module, float] = NO_GAINS,
) -> None:
    """Give every linear, convolution and LSTM layer, normalized or not, orthogonal rows; b = 0.

    With storage "gv", v becomes w and g becomes ||w||. Each gate of an LSTM is one matrix. Layers
    that compute an effective weight (standardized, spectral) compute it from these rows.

    Args:
        network: holds the layers.
        generator: a CPU generator; layers draw in the order of `network.modules()`.
        gain: gain of layers without an entry in `gains`; sqrt(2) is for ReLU.
        gains: by module, the gain of all its layers (usually 1 for LSTMs and values, 0.01 for
            policies).

    Source: Saxe et al. 2014, arXiv 1312.6120; gains as in Stable-Baselines3.
    """
    layer_gains = _by_layer(gains)
    for layer in network.modules():
        layer_gain = layer_gains.get(layer, gain)
        for weight, write in _weights(layer):
            gates = 4 if isinstance(layer, nn.LSTM) and weight.shape[0] % 4 == 0 else 1
            drawn = torch.empty(weight.shape)
            for gate in drawn.chunk(gates):
                gate.copy_(nn.init.orthogonal_(torch.empty(gate.shape), layer_gain, generator))
            write(drawn)
        _zero_biases_(layer)


@torch.no_grad()
def init_kaiming_normal_(
    network: nn.Module,
    generator: torch.Generator,
    *,
    gain: float = math.sqrt(2),
    gains: Mapping[nn.Module, float] = NO_GAINS,
) -> None:
    """Draw every weight, also of heads, from N(0, gain^2 / fan_in), and set b = 0.

    Layers, storages and arguments as in `init_orthogonal_`.

    Source: He et al. 2015, arXiv 1502.01852, eq. 10.
    """
    layer_gains = _by_layer(gains)
    for layer in network.modules():
        for weight, write in _weights(layer):
            std = layer_gains.get(layer, gain) / math.sqrt(math.prod(weight.shape[1:]))
            write(torch.empty(weight.shape).normal_(0.0, std, generator=generator))
        _zero_biases_(layer)


@torch.no_grad()
def init_directions_(
    network: nn.Module, generator: torch.Generator, *, std: float = PAPER_WEIGHT_STD
) -> None:
    """Draw every element of v from N(0, std^2), as the paper does (section 3), and set b = 0.

    Layers as in `init_orthogonal_`. With storage "gv", g becomes ||v||, so that w = v; with storage
    "w" and in plain layers, w is drawn. The paper then sets g and b from data: `init_from_data_`
    does so and keeps only the directions; `v_norm="paper"` restores ||v||.

    Args:
        network: holds the layers.
        generator: a CPU generator; layers draw in the order of `network.modules()`.
        std: standard deviation; 0.05 in the paper.
    """
    for layer in network.modules():
        for weight, write in _weights(layer):
            write(torch.empty(weight.shape).normal_(0.0, std, generator=generator))
        _zero_biases_(layer)


@torch.no_grad()
def init_he_uniform_(network: nn.Module, generator: torch.Generator, *, bias: float = 0.1) -> None:
    """Draw every weight from U(-sqrt(3 / fan_in), sqrt(3 / fan_in)), and set b.

    That is Lasagne's `HeUniform()`, whose gain is 1, and `Constant(.1)`, with which deep_q_rl
    begins, the code on which the DQN of Salimans & Kingma 2016 is based. Biases of an LSTM are 0.
    Layers as in `init_orthogonal_`.

    Args:
        network: holds the layers.
        generator: a CPU generator; layers draw in the order of `network.modules()`.
        bias: b of linear and convolution layers.
    """
    for layer in network.modules():
        for weight, write in _weights(layer):
            bound = math.sqrt(3 / math.prod(weight.shape[1:]))
            write(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
        _zero_biases_(layer)
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer.bias is not None:
            layer.bias.fill_(bias)


# Initial weights that a run may have in place of its agent's.
INITIALIZATIONS: Mapping[str, Callable[[nn.Module, torch.Generator], None]] = {
    "he": init_he_uniform_,
    "normal": init_directions_,
}


def _weights(layer: nn.Module) -> Iterator[tuple[Tensor, Callable[[Tensor], Any]]]:
    """Yield each weight of a layer with the function that writes it, in any storage."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        yield layer.weight, partial(write_weight_, layer)
    elif isinstance(layer, WNLSTM):
        for name in layer.weight_names():
            yield getattr(layer, name), partial(layer.set_weight_, name=name)
    elif isinstance(layer, nn.LSTM):
        for name, weight in layer.named_parameters(recurse=False):
            if name.startswith("weight"):
                yield weight, weight.copy_


def _zero_biases_(layer: nn.Module) -> None:
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.LSTM):
        for name, bias in layer.named_parameters(recurse=False):
            if name.startswith("bias"):
                bias.zero_()


def _by_layer(gains: Mapping[nn.Module, float]) -> dict[nn.Module, float]:
    """Return the gain of every module inside those in `gains`; later entries override earlier."""
    return {layer: gain for module, gain in gains.items() for layer in module.modules()}
