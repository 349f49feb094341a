"""Activations of a network on some states, read by hooks in a separate forward pass.

The pass changes nothing: modes, buffers and gradients of the network and torch's generators stay.

Dimension key: B batch, N samples, U units of a layer, F features.
"""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wnrl.instruments.formulas import Moments, moments, statistics_gap, variance_ratio
from wnrl.nn.weight_norm.layers import LAYERS
from wnrl.nn.weight_norm.parametrization import WeightNormalized

NONLINEARITIES = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.SELU,
    nn.CELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Softplus,
    nn.Tanh,
    nn.Sigmoid,
)


class LayerActivity(NamedTuple):
    """Statistics of one layer over a batch and all positions."""

    preactivation: Moments  # before the nonlinearity, after the normalization
    output: Moments | None  # moments of the layer's output; None if that is the pre-activation
    mean_activation: Tensor | None  # (U,) E|h_i| after the nonlinearity; None without one


class Activity(NamedTuple):
    """Statistics of a network on a batch."""

    layers: dict[str, LayerActivity]  # by layer, in the order of the calls
    features: Tensor | None  # (B, F) input of the last layer called, a head
    output: Any  # the network's


class _Recorder:
    """Records one forward pass; a layer is open until its nonlinearity or the next layer runs."""

    def __init__(self) -> None:
        self.layers: dict[str, LayerActivity] = {}
        self.features: Tensor | None = None
        self._open: tuple[str, Tensor, int] | None = None
        self._pending: tuple[str, LayerActivity, int] | None = None  # inside its nonlinearity

    def enter_layer(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.close()
        if inputs and isinstance(inputs[0], Tensor):
            self.features = inputs[0].detach()

    def leave_layer(self, name: str, layer: nn.Module, output: Any) -> None:
        inside = isinstance(layer, nn.RNNCellBase)  # its nonlinearities
        if isinstance(output, Tensor) and output.ndim >= 2 and not inside:
            axis = 1 if isinstance(layer, nn.modules.conv._ConvNd) else -1
            self._open = (name, output.detach(), axis)

    def enter_nonlinearity(self, inputs: tuple[Any, ...]) -> None:
        if self._open is not None:
            name, raw, axis = self._open
            before = inputs[0].detach()
            differs = before.data_ptr() != raw.data_ptr() or before.numel() != raw.numel()
            output = _moments(raw, axis) if differs else None
            self._pending = (name, LayerActivity(_moments(before, axis), output, None), axis)
        self._open = None

    def leave_nonlinearity(self, output: Tensor) -> None:
        if self._pending is not None:
            name, read, axis = self._pending
            active = _samples(output.detach(), axis).abs().mean(dim=0)
            self.layers.setdefault(name, read._replace(mean_activation=active))
        self._pending = None

    def close(self) -> None:
        if self._open is not None:  # no nonlinearity followed
            name, raw, axis = self._open
            self.layers.setdefault(name, LayerActivity(_moments(raw, axis), None, None))
        self._open = None


@torch.no_grad()
def activity(network: nn.Module, obs: Tensor, *, batch_statistics: bool = False) -> Activity:
    """Return statistics of pre-activations, activations and features in evaluation mode.

    A layer's pre-activation is the input of the next nonlinearity, after any normalization. If no
    nonlinearity follows before the next layer (a head, the last layer of a residual section), it is
    the layer's output. Recurrent layers and cells are not read, because their nonlinearities are
    inside; their outputs are the features of the heads that follow.

    Args:
        network: obs -> anything.
        obs: (B, ...) the network's input.
        batch_statistics: use training mode, on a copy, as if the running statistics had settled on
            these states.
    """
    recorder = _Recorder()
    watched = copy.deepcopy(network) if batch_statistics else network
    with same_modes(watched), ExitStack() as hooks:
        for name, layer in watched.named_modules():
            if isinstance(layer, (*LAYERS, WeightNormalized)):
                hooks.enter_context(_removed(layer.register_forward_pre_hook(recorder.enter_layer)))

                def leave(layer: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
                    recorder.leave_layer(name, layer, output)

                # First, because a layer's own normalization may be another hook (`attach_norm_`).
                hook = layer.register_forward_hook(leave, prepend=True)
                hooks.enter_context(_removed(hook))
            elif isinstance(layer, NONLINEARITIES):

                def begin(layer: nn.Module, inputs: Any) -> None:
                    recorder.enter_nonlinearity(inputs)

                def end(layer: nn.Module, inputs: Any, output: Any) -> None:
                    recorder.leave_nonlinearity(output)

                hooks.enter_context(_removed(layer.register_forward_pre_hook(begin)))
                hook = layer.register_forward_hook(end, prepend=True)  # as above
                hooks.enter_context(_removed(hook))
        with _same_generators(network):
            output = watched.train(batch_statistics)(obs)
    recorder.close()
    features = recorder.features
    return Activity(recorder.layers, None if features is None else features.flatten(1), output)


class StatisticsGap(NamedTuple):
    """Gap between a batch's statistics, used in learning, and running ones, used in acting."""

    means: Tensor  # () in units of the running standard deviation
    variances: Tensor | None  # () batch over running; None without a running variance


def keeps_statistics(network: nn.Module) -> bool:
    """Return whether any module acts with running statistics and learns with the batch's."""
    return any(_running_mean(module) is not None for module in network.modules())


@torch.no_grad()
def statistics_gaps(network: nn.Module, obs: Tensor) -> dict[str, StatisticsGap]:
    """Return the gap of each module that has a `running_mean`, by name, in training mode.

    Args:
        network: obs -> anything.
        obs: (B, ...) the whole batch of a forward pass in learning.
    """
    gaps: dict[str, StatisticsGap] = {}
    if not keeps_statistics(network):
        return gaps
    copied = copy.deepcopy(network).train()  # a pass in training mode changes running statistics
    for name, module in copied.named_modules():
        if _running_mean(module) is not None:

            def compare(module: nn.Module, inputs: Any, name: str = name) -> None:
                gaps.setdefault(name, _gap(module, inputs[0]))

            module.register_forward_pre_hook(compare)
    with _same_generators(network):
        copied(obs)
    return gaps


def _running_mean(module: nn.Module) -> Tensor | None:
    return module._buffers.get("running_mean")


def _gap(module: nn.Module, values: Tensor) -> StatisticsGap:
    """Return the gap between a module's running statistics and its input (B, U, ...).

    torch's running variance is unbiased; modules with a biased one have `biased_running_var`.
    """
    samples = _samples(values.detach(), 1)
    mean, std = moments(samples)
    variance = std.square()
    if not getattr(module, "biased_running_var", False):
        variance *= len(samples) / max(1, len(samples) - 1)
    running_mean, running_var = _running_mean(module), module._buffers.get("running_var")
    assert running_mean is not None, "statistics_gaps chose it"
    gap = statistics_gap(mean, variance, running_mean, running_var)
    return StatisticsGap(
        gap, None if running_var is None else variance_ratio(variance, running_var)
    )


@contextmanager
def same_modes(network: nn.Module) -> Iterator[None]:
    """Restore each module's mode, training or evaluation, when the scope ends."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _same_generators(network: nn.Module) -> Iterator[None]:
    """Restore torch's global generators, from which training mode may draw (dropout)."""
    with torch.random.fork_rng({p.device for p in network.parameters() if p.is_cuda}):
        yield


@contextmanager
def _removed(hook: Any) -> Iterator[None]:
    try:
        yield
    finally:
        hook.remove()


def _samples(values: Tensor, axis: int) -> Tensor:
    """(B, ..., U, ...) with units at `axis` -> (N, U); no copy for channels_last."""
    return values.movedim(axis, -1).reshape(-1, values.shape[axis])


def _moments(values: Tensor, axis: int) -> Moments:
    return moments(_samples(values, axis))
