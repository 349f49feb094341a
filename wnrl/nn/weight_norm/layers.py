"""Weight-normalized layers, w = g v / ||v||: drop-in replacements for torch's, in two storages.

`storage="gv"`: the Parameters are `weight_g` and `weight_v`; w is computed when it is used, and
any optimizer may step them. `storage="w"`: `weight` is an ordinary Parameter with a mark; the
optimizers of `wnrl.optim` hold the rest and take weight-normalized steps. Both start from the w of
torch's layer and follow the same trajectory.

The mathematics is in `wnrl.kernels`, the step in `wnrl.optim`.
Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from wnrl._settings import UsageError
from wnrl.kernels.reference import row_norm
from wnrl.nn.weight_norm.parametrization import WeightNormalized, computed_weights
from wnrl.optim.arguments import VNorm, normalized_by, starting_norm


class WNLinear(WeightNormalized, nn.Linear):
    """`torch.nn.Linear` with weight normalization: (..., I) -> (..., O).

    Args:
        arguments: in_features, out_features, bias, device and dtype, as in torch.
        storage: "gv" or "w", see `WeightNormalized`; so are `gain`, `gain_scale` and `max_v_norm`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return nn.functional.linear(input, *self.weight_and_bias())


class WNConv1d(WeightNormalized, nn.Conv1d):
    """`torch.nn.Conv1d` with weight normalization, one gain per filter; as `WNConv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, L) -> (B, O, L')."""
        output: Tensor = self._conv_forward(input, *self.weight_and_bias())
        return output


class WNConv2d(WeightNormalized, nn.Conv2d):
    """`torch.nn.Conv2d` with weight normalization, one gain per filter.

    Arguments as in torch (`padding_mode` and `groups` too), keyword-only ones as in
    `WeightNormalized`; `weight_g` is (O, 1, 1, 1), `weight_v` (O, I / groups, kH, kW).
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        output: Tensor = self._conv_forward(input, *self.weight_and_bias())
        return output


class WNConv3d(WeightNormalized, nn.Conv3d):
    """`torch.nn.Conv3d` with weight normalization, one gain per filter; as `WNConv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, D, H, W) -> (B, O, D', H', W')."""
        output: Tensor = self._conv_forward(input, *self.weight_and_bias())
        return output


class _Transposed(WeightNormalized):
    """Mixin of transposed convolutions, whose weight (I, O / groups, ...) has outputs on axis 1."""

    output_axis = 1

    def _convolve(
        self: Any, function: Callable[..., Tensor], input: Tensor, output_size: list[int] | None
    ) -> Tensor:
        """Return what torch's layer computes with a function for its number of dimensions."""
        padding = self._output_padding(
            input,
            output_size,
            self.stride,
            self.padding,
            self.kernel_size,
            len(self.kernel_size),
            self.dilation,
        )
        return function(
            input,
            *self.weight_and_bias(),
            self.stride,
            self.padding,
            padding,
            self.groups,
            self.dilation,
        )


class WNConvTranspose1d(_Transposed, nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with weight normalization; as `WNConvTranspose2d`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, I, L) -> (B, O, L')."""
        return self._convolve(nn.functional.conv_transpose1d, input, output_size)


class WNConvTranspose2d(_Transposed, nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with weight normalization, one gain per output channel.

    Arguments as in torch, keyword-only ones as in `WeightNormalized`. `weight_g` is
    (1, O / groups, 1, 1), `weight_v` (I, O / groups, kH, kW), as in torch's weight_norm(dim=1). So
    with groups > 1 the channels at the same position of every group share a gain.
    """

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        return self._convolve(nn.functional.conv_transpose2d, input, output_size)


class WNConvTranspose3d(_Transposed, nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with weight normalization; as `WNConvTranspose2d`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, I, D, H, W) -> (B, O, D', H', W')."""
        return self._convolve(nn.functional.conv_transpose3d, input, output_size)


def reparameterized(layer: nn.Module) -> bool:
    """Return whether torch computes a weight of this layer from other Parameters."""
    hooks = layer._forward_pre_hooks.values()
    return torch.nn.utils.parametrize.is_parametrized(layer) or any(
        isinstance(hook, WeightNorm | SpectralNorm) for hook in hooks
    )


def weight_norm_groups(
    module: nn.Module,
    *,
    where: Callable[[str, nn.Module], bool] | None = None,
    **defaults: Any,
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer: the weights to normalize, and all other parameters.

    Args:
        module: any module.
        where: called with the name (as in `module.named_modules()`) and the module of each linear,
            convolution and recurrent layer and embedding, plain layers included; True normalizes
            the layer's weights. None normalizes layers with storage="w".
        defaults: added to both groups, for example `lr`.

    Returns:
        A group with `weight_norm` True, one that also has `output_axis` 1, for the weights of
        transposed convolutions, and one with `weight_norm` False; none is empty. Each parameter is
        in one group, once, in the order of `module.parameters()`. Gains and weight vectors of
        storage="gv" are plain parameters.

    Raises:
        UsageError: `where` selects a layer with storage="gv" or one that torch reparametrizes,
            which would be normalized twice, or two layers that share a weight with another output
            axis.
    """
    chosen = _marked if where is None else where
    marked: dict[int, int] = {}  # id of a weight -> its output axis
    for name, layer in module.named_modules():
        if not isinstance(layer, LAYERS) or not chosen(name, layer):
            continue
        if isinstance(layer, WeightNormalized) and layer.storage == "gv":
            raise UsageError(
                f"where selects {name!r}, whose storage is 'gv': its weights would be normalized "
                'twice; leave it out or build it with storage="w"'
            )
        if reparameterized(layer):
            raise UsageError(
                f"where selects {name!r}, whose weight torch reparametrizes: leave it out, or "
                "remove the parametrization or hook first"
            )
        # In these layers only weights have names that start so.
        axis = int(getattr(layer, "transposed", False))
        for weight_name, weight in layer.named_parameters(recurse=False):
            if weight_name.startswith("weight") and marked.setdefault(id(weight), axis) != axis:
                raise UsageError(
                    f"{name!r} shares the weight {tuple(weight.shape)} of another layer, whose "
                    "output channels are on another axis: with `where`, leave out one of them"
                )
    split: dict[int | None, list[nn.Parameter]] = {0: [], 1: [], None: []}
    for parameter in module.parameters():
        split[marked.get(id(parameter))].append(parameter)
    return [
        {**defaults, "params": parameters, **normalized_by(axis)}
        for axis, parameters in split.items()
        if parameters
    ]


# torch's layers with weights whose rows belong to output units.
LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.Embedding)


def _marked(name: str, layer: nn.Module) -> bool:
    return isinstance(layer, WeightNormalized) and layer.storage == "w"


@torch.no_grad()
def set_vector_norms_(module: nn.Module, v_norm: VNorm) -> None:
    """Set the initial length of every v of storage "gv"; w and g stay as they are.

    With storage "w" the optimizer holds ||v|| and takes the same `v_norm`.

    Args:
        module: holds the layers.
        v_norm: "weight" (||w||), "paper" (0.05 sqrt(fan_in), section 3), "unit", or a tensor () or
            (O,).
    """
    for layer, name in computed_weights(module):
        g, v = layer.gain_and_vector(name)
        rows = v.flatten(1)  # (O, ...) -> (O, K)
        target = starting_norm(v_norm, g.abs().flatten(1), rows.shape[1])  # (O, 1)
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        factor = torch.where((length > 0) & (target > 0), target / length, 1.0)
        v.mul_(factor.reshape(g.shape).to(v.dtype))


@torch.no_grad()
def cap_vector_norms_(module: nn.Module) -> None:
    """Shorten every v to at most its layer's `max_v_norm`; w does not change.

    Gradient descent only lengthens v (section 2.1), which lowers the relative step size for good;
    the cap bounds it from below. Call this after each step, or register it once:
    `optimizer.register_step_post_hook(lambda *_: cap_vector_norms_(network))`.
    """
    for layer, name in computed_weights(module):
        if layer.max_v_norm is not None:
            v = layer.gain_and_vector(name)[1]
            factor = layer.max_v_norm / row_norm(v).clamp(min=layer.max_v_norm)
            v.mul_(factor.to(v.dtype))


@torch.no_grad()
def write_weight_(layer: nn.Linear | nn.Conv2d, weight: Tensor) -> None:
    """Write w (O, ...) into a plain or normalized layer, whatever its storage."""
    if isinstance(layer, WeightNormalized):
        layer.set_weight_(weight)
    else:
        layer.weight.copy_(weight)
