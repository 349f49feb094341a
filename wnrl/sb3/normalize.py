"""Normalization of a network that is already built and initialized; its weights stay.

Stable-Baselines3 hard-codes `nn.Linear` and `nn.Conv2d` and initializes only those, so it first
builds a plain network. A normalization of weights then starts from the same function; one of
activations becomes a part of its layer. Layers keep their names and positions, so a saved network
loads into the other kind, except for what a normalization adds.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.instruments.activations import NONLINEARITIES, same_modes
from wnrl.nn.norms.attached import attach_norm_
from wnrl.nn.norms.layers.spectral import Spectral
from wnrl.nn.norms.record import AFTER_ACTIVATION, Norm
from wnrl.nn.weight_norm.layers import reparameterized
from wnrl.nn.weight_norm.parametrization import WeightNormalized

Shapes = Mapping[nn.Module, tuple[int, ...]]  # pre-activation shape of each layer
Kind = type[nn.Module]
_SIZES: dict[Kind, tuple[str, ...]] = {  # constructor arguments by position
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    nn.LSTM: ("input_size", "hidden_size"),
}
KINDS = tuple(_SIZES)  # the types of layers that `normalize_` takes
_OPTIONS: dict[Kind, dict[str, Any]] = {  # and by name, with torch's defaults
    nn.Linear: {},
    nn.Conv2d: {"dilation": (1, 1), "groups": 1, "padding_mode": "zeros"},
    nn.LSTM: {
        "num_layers": 1,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
        "proj_size": 0,
    },
}


@torch.no_grad()
def normalize_(
    network: nn.Module, norm: Norm, placed: Collection[str], forward: Callable[[], object]
) -> None:
    """Replace the placed layers by the normalization's, in place; draw from no global generator.

    Args:
        network: network whose layers are exactly of the types nn.Linear, nn.Conv2d and nn.LSTM.
        norm: their normalization. The caller calls its `initialize`.
        placed: names of layers in `network.named_modules()`.
        forward: function that runs the network once, on any observation.

    Raises:
        UsageError: the output of a layer cannot be normalized.
    """
    chosen = {layer: name for name, layer in network.named_modules() if name in placed}
    shapes: Shapes = {}
    if norm.has_place:
        _check_weights(chosen, norm, network)
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are not kept
        if norm.normalizes_activations:
            shapes = _output_shapes(chosen, norm, network, forward)
        made = {layer: _remade(layer, norm) for layer in chosen}
        for layer, shape in shapes.items():
            sequential = _sequential_of(layer, chosen[layer], norm, network)
            if (normalization := norm.activation(shape)) is not None:
                host = made[layer]
                if norm.after == AFTER_ACTIVATION:
                    host = _nonlinearity_after(layer, chosen[layer], sequential, network)
                attach_norm_(sequential, host, normalization.train(layer.training))
    for parent in network.modules():
        for name, child in parent._modules.items():
            if child in made:  # under every parent, because a layer may be shared
                parent._modules[name] = made[child]


def _remade(layer: nn.Module, norm: Norm) -> nn.Module:
    """Return the normalization's layer with the same sizes and weights; itself if it has none."""
    kind = type(layer)
    factories: dict[Kind, Callable[..., nn.Module]]
    factories = {nn.Linear: norm.linear, nn.Conv2d: norm.conv, nn.LSTM: norm.lstm}
    if factories[kind] is kind:
        return layer
    sizes = [getattr(layer, name) for name in _SIZES[kind]]
    options = {
        name: value
        for name, default in _OPTIONS[kind].items()
        if (value := getattr(layer, name)) != default
    }
    if not any(name.startswith("bias") for name, _ in layer.named_parameters()):
        options["bias"] = False
    made = factories[kind](*sizes, **options)
    # Not strict: parameters that the normalization adds keep their initial values.
    made.load_state_dict(layer.state_dict(), strict=False)
    _keep_what_users_set_(made, layer)
    return made.train(layer.training)


def _keep_what_users_set_(made: nn.Module, layer: nn.Module) -> None:
    """Give a remade layer the plain one's hooks and Parameters, which may be tied or frozen."""
    parameters = dict(layer.named_parameters())
    if not any(parameter.requires_grad for parameter in parameters.values()):
        made.requires_grad_(False)
    for name, parameter in parameters.items():
        if name in made._parameters:
            setattr(made, name, parameter)
        elif isinstance(made, WeightNormalized) and not parameter.requires_grad:
            for part in made.gv_parameters(name):
                part.requires_grad_(False)
    for name, hooks in vars(layer).items():
        if name.endswith("_hooks") or "_hooks_" in name:
            vars(made)[name] = hooks


def _check_weights(layers: Mapping[nn.Module, str], norm: Norm, network: nn.Module) -> None:
    """Raise a UsageError for a layer whose weight torch computes, or that breaks a tie in "gv"."""
    for layer, name in layers.items():
        if reparameterized(layer):
            raise UsageError(
                f"norm {norm.name!r} cannot be at {name!r}, whose weight torch already "
                "reparametrizes: remove that, or leave the layer out of norm_where"
            )
    owners: dict[nn.Parameter, str] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        layer_name = name.rpartition(".")[0]
        first = owners.setdefault(parameter, layer_name)
        tied = {network.get_submodule(each) for each in (first, layer_name)}
        if len(tied) == 2 and tied & set(layers) and "weight" in name and _computes_weights(norm):
            raise UsageError(
                f"{first!r} and {layer_name!r} share a weight, and this optimizer steps gains and "
                "vectors instead, which would break the tie: leave both out of norm_where, or "
                "take an optimizer of wnrl.optim"
            )


def _computes_weights(norm: Norm) -> bool:
    with torch.device("meta"):
        layer = norm.linear(1, 1)
    return isinstance(layer, WeightNormalized) and layer.storage == "gv"


def _output_shapes(
    layers: Mapping[nn.Module, str],
    norm: Norm,
    network: nn.Module,
    forward: Callable[[], object],
) -> Shapes:
    """Return the shapes of what layers, given with their names, put out in one forward pass.

    Raises:
        UsageError: the pass reads a layer's weights without calling the layer.
    """
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def note(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        shapes[layer] = tuple(output.shape[1:] if type(layer) is nn.Conv2d else output.shape[-1:])

    normalized = {layer: name for layer, name in layers.items() if type(layer) is not nn.LSTM}
    handles = [layer.register_forward_hook(note) for layer in normalized]
    with same_modes(network):  # in training mode statistics would change
        network.eval()
        forward()
    for handle in handles:
        handle.remove()
    for layer, name in normalized.items():
        if layer not in shapes:
            raise UsageError(
                f"norm {norm.name!r} would change nothing at {name!r}, because the forward pass "
                "never calls this layer as a module: call it, leave it out of norm_where, or use "
                "norm 'weight'"
            )
    return {layer: shapes[layer] for layer in normalized}


def _sequential_of(layer: nn.Module, name: str, norm: Norm, network: nn.Module) -> nn.Sequential:
    """Return the only module that holds a layer, which says what follows the layer.

    Raises:
        UsageError: it is not an nn.Sequential, or the layer has several positions.
    """
    parents = [
        parent
        for parent in network.modules()
        for child in parent._modules.values()
        if child is layer
    ]
    if len(parents) > 1:
        raise UsageError(
            f"norm {norm.name!r} needs a place of its own after each layer, and {name!r} has "
            f"{len(parents)} places: use one layer for each, leave it out of norm_where, or use "
            "norm 'weight'"
        )
    if not isinstance(parents[0], nn.Sequential):
        raise UsageError(
            f"norm {norm.name!r} goes between a layer and its nonlinearity, and what follows "
            f"{name!r} is unknown, because the layer is not in an nn.Sequential: leave it out of "
            "norm_where, or use norm 'weight'"
        )
    return parents[0]


def _nonlinearity_after(
    layer: nn.Module, name: str, sequential: nn.Sequential, network: nn.Module
) -> nn.Module:
    """Return the nonlinearity that follows a layer.

    Raises:
        UsageError: something else or nothing follows, or it is called in several places.
    """
    children = list(sequential)
    follower = next(iter(children[children.index(layer) + 1 :]), None)
    if not isinstance(follower, NONLINEARITIES):
        raise UsageError(
            f"a normalization after the nonlinearity needs one, and {name!r} is followed by "
            f"{type(follower).__name__ if follower is not None else 'nothing'}: leave it out of "
            "norm_where"
        )
    places = [child for parent in network.modules() for child in parent._modules.values()]
    if sum(place is follower for place in places) > 1:
        raise UsageError(
            f"the nonlinearity after {name!r} has several places in the network, so a "
            "normalization cannot belong to one of them: use one module for each"
        )
    return follower


def to_memory_format_(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Convert a network's four-dimensional weights to a memory format, in place."""
    network.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing in torch's types


def follow_singular_vectors_(target: nn.Module) -> None:
    """Let a target network move its spectral layers' singular vectors before each forward pass.

    Stable-Baselines3 averages its parameters, but copies no such vectors, and runs it in evaluation
    mode, in which they would stay.
    """
    if any(isinstance(layer, Spectral) for layer in target.modules()):
        target.register_forward_pre_hook(_iterate)


def _iterate(target: nn.Module, inputs: tuple[Any, ...]) -> None:
    for layer in target.modules():
        if isinstance(layer, Spectral):
            layer.iterate_(layer.power_iterations)
