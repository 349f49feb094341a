"""A built and initialized network gets a normalization: the same weights, in its layers.

Stable-Baselines3 hard-codes `nn.Linear` and `nn.Conv2d` and initializes only those, so a network is
first made as it makes it. A normalization of weights then starts from the function that the stock
network has; one of activations comes between a layer and its nonlinearity. No layer changes its
name: what was saved from the one network loads into the other, but for what a normalization adds.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.instruments.activations import same_modes
from wnrl.nn.norms.record import Norm

Shapes = Mapping[nn.Module, tuple[int, ...]]  # of a layer's output, without the batch
Kind = type[nn.Module]
_SIZES: dict[Kind, tuple[str, ...]] = {  # what a layer is made with, by position
    nn.Linear: ("in_features", "out_features"),
    nn.Conv2d: ("in_channels", "out_channels", "kernel_size", "stride", "padding"),
    nn.LSTM: ("input_size", "hidden_size"),
}
_OPTIONS: dict[Kind, dict[str, Any]] = {  # and by name, where it is not torch's default
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
    """Make the placed layers the normalization's, in place; draws from no global generator.

    Args:
        network: holds the layers, of exactly the types nn.Linear, nn.Conv2d and nn.LSTM.
        norm: of them. Its `initialize` is left to the caller.
        placed: names of layers, as in `network.named_modules()`.
        forward: runs all convolutions of the network once, on any observation.

    Raises:
        UsageError: activations are to be normalized where no module follows the layer.
    """
    chosen = [layer for name, layer in network.named_modules() if name in placed]
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are not kept
        if norm.normalizes_activations:
            _add_activation_norms_(network, norm, _output_shapes(chosen, network, forward))
        made = {layer: _remade(layer, norm) for layer in chosen}
    for parent in network.modules():
        for name, child in parent._modules.items():
            if child in made:  # wherever it stands, for a layer may be shared
                parent._modules[name] = made[child]


def _remade(layer: nn.Module, norm: Norm) -> nn.Module:
    """The normalization's layer with the same sizes and weights; the same where it has none."""
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
    made.load_state_dict(layer.state_dict(), strict=False)  # what the normalization adds stays
    return made.train(layer.training)


def _output_shapes(
    layers: Collection[nn.Module], network: nn.Module, forward: Callable[[], object]
) -> Shapes:
    """Of linear layers by themselves, of convolutions by one forward pass."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    handles = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            shapes[layer] = (layer.out_features,)
        elif isinstance(layer, nn.Conv2d):

            def note(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
                shapes[layer] = tuple(output.shape[1:])

            handles.append(layer.register_forward_hook(note))
    if handles:
        with same_modes(network):  # in training mode statistics would move
            network.eval()
            forward()
    for handle in handles:
        handle.remove()
    return shapes


def _add_activation_norms_(network: nn.Module, norm: Norm, shapes: Shapes) -> None:
    """Add `<name>_norm` behind each layer `<name>`, as in wnrl's own networks."""
    placed = set(shapes)
    for parent_name, parent in list(network.named_modules()):
        children = list(parent._modules.items())
        if placed.isdisjoint(child for _, child in children):
            continue
        if not isinstance(parent, nn.Sequential):
            name = next(name for name, child in children if child in placed)
            raise UsageError(
                f"norm {norm.name!r} stands between a layer and its nonlinearity, and what follows "
                f"{'.'.join(filter(None, (parent_name, name)))!r} cannot be seen: it is not in an "
                "nn.Sequential; leave it out by norm_where, or take norm 'weight'"
            )
        parent._modules.clear()
        for name, child in children:
            parent.add_module(name, child)
            if child in placed:
                assert child is not None
                normalization = norm.activation(shapes[child])
                if normalization is not None:
                    parent.add_module(f"{name}_norm", normalization.train(child.training))
