"""Normalization of a network that is already built and initialized; its weights stay.

Stable-Baselines3 hard-codes `nn.Linear` and `nn.Conv2d` and initializes only those, so it first
builds a plain network. A normalization of weights then starts from the same function; one of
activations is inserted between a layer and its nonlinearity. Layers keep their names, so a saved
network loads into the other kind, except for what a normalization adds.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.instruments.activations import same_modes
from wnrl.nn.norms.record import Norm

Shapes = Mapping[nn.Module, tuple[int, ...]]  # shape of each layer's output, without the batch
Kind = type[nn.Module]
_SIZES: dict[Kind, tuple[str, ...]] = {  # constructor arguments by position
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    nn.LSTM: ("input_size", "hidden_size"),
}
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
        forward: function that runs all convolutions of the network once, on any observation.

    Raises:
        UsageError: activations cannot be normalized because no module follows the layer.
    """
    chosen = [layer for name, layer in network.named_modules() if name in placed]
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are not kept
        if norm.normalizes_activations:
            _add_activation_norms_(network, norm, _output_shapes(chosen, network, forward))
        made = {layer: _remade(layer, norm) for layer in chosen}
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
    return made.train(layer.training)


def _output_shapes(
    layers: Collection[nn.Module], network: nn.Module, forward: Callable[[], object]
) -> Shapes:
    """Return output shapes: known for linear layers, from one forward pass for convolutions."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    handles = []
    for layer in layers:
        if type(layer) is nn.Linear:
            shapes[layer] = (layer.out_features,)
        elif type(layer) is nn.Conv2d:

            def note(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
                shapes[layer] = tuple(output.shape[1:])

            handles.append(layer.register_forward_hook(note))
    if handles:
        with same_modes(network):  # in training mode statistics would change
            network.eval()
            forward()
    for handle in handles:
        handle.remove()
    return shapes


def _add_activation_norms_(network: nn.Module, norm: Norm, shapes: Shapes) -> None:
    """Add `<name>_norm` after each layer `<name>`, as in the networks of `wnrl.nn`."""
    placed = set(shapes)
    for parent_name, parent in list(network.named_modules()):
        children = list(parent._modules.items())
        if placed.isdisjoint(child for _, child in children):
            continue
        if not isinstance(parent, nn.Sequential):
            name = next(name for name, child in children if child in placed)
            raise UsageError(
                f"norm {norm.name!r} goes between a layer and its nonlinearity, and what follows "
                f"{'.'.join(filter(None, (parent_name, name)))!r} is unknown, because the layer is "
                "not in an nn.Sequential: leave it out of norm_where, or use norm 'weight'"
            )
        parent._modules.clear()
        for name, child in children:
            parent.add_module(name, child)
            if child in placed:
                assert child is not None
                normalization = norm.activation(shapes[child])
                if normalization is not None:
                    parent.add_module(f"{name}_norm", normalization.train(child.training))


def to_memory_format_(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Convert a network's four-dimensional weights to a memory format, in place."""
    network.to(memory_format=memory_format)  # type: ignore[call-overload]  # missing in torch's types
