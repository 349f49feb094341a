"""Weight-normalized layers: drop-in for torch's, with one truth (w = g v / ||v||) in two storages.

`storage="gv"`: the Parameters are `weight_g` and `weight_v`; w is computed where it is used, and
any optimizer may step them. `storage="w"`: `weight` is an ordinary Parameter that is only marked;
the optimizers of `wnrl.optim` keep what makes its step a weight-normalized one. Both start from the
same w as torch's own layer and walk the same trajectory.

Not here: the mathematics (wnrl.kernels) and the step (wnrl.optim).
Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.reference import row_norm
from wnrl.nn.weight_norm.parametrization import WeightNormalized, check_options, computed_weights
from wnrl.optim.weight_norm import VNorm, starting_norm


class WNLinear(WeightNormalized, nn.Linear):
    """`torch.nn.Linear` with weight normalization: (..., I) -> (..., O).

    Args:
        in_features: I.
        out_features: O.
        bias: whether to add a bias.
        device: as in torch.
        dtype: as in torch.
        storage: "gv" (Parameters `weight_g` (O, 1) and `weight_v` (O, I); `weight` can be read,
            and written with `set_weight_`) or "w" (`weight` is a Parameter, for `WNAdam`).
        gain: "linear"; "log" (the Parameter is `weight_s` and g = exp(gain_scale s), section 2,
            for gains of any magnitude; `weight_g` is readable); "fixed" (`weight_g` does not
            require gradients: only directions are learned). Storage "gv" alone has a choice.
        gain_scale: c in g = exp(c s): the larger, the faster the gain learns.
        max_v_norm: ||v|| that `cap_vector_norms_` keeps to, None for no cap; storage "gv" alone.

    Raises:
        UsageError: on another storage or gain, or options that the storage does not have.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        storage: str = "gv",
        gain: str = "linear",
        gain_scale: float = 1.0,
        max_v_norm: float | None = None,
    ) -> None:
        check_options(storage, gain, gain_scale, max_v_norm)
        super().__init__(in_features, out_features, bias, device, dtype)
        self._adopt(storage, gain, gain_scale, max_v_norm)

    def reset_parameters(self) -> None:
        """Draw w and the bias as `torch.nn.Linear` does, from the global generator."""
        if "weight_v" not in self._parameters:
            super().reset_parameters()
            return
        plain = nn.Linear(
            self.in_features,
            self.out_features,
            self.bias is not None,
            device=self.weight_v.device,
            dtype=self.weight_v.dtype,
        )
        _copy_(self, plain)

    def forward(self, input: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        weight = self._parameters.get("weight")  # read as cheaply as torch's own layer does
        if weight is None:
            return nn.functional.linear(input, self.effective_weight(), self.bias)
        return nn.functional.linear(input, weight, self._parameters["bias"])


class WNConv2d(WeightNormalized, nn.Conv2d):
    """`torch.nn.Conv2d` with weight normalization, one gain per filter.

    Arguments as in torch (`padding_mode` and `groups` too); keyword-only ones as in `WNLinear`;
    `weight_g` is (O, 1, 1, 1), `weight_v` (O, I / groups, kH, kW).

    Raises:
        UsageError: as `WNLinear`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        storage: str = "gv",
        gain: str = "linear",
        gain_scale: float = 1.0,
        max_v_norm: float | None = None,
    ) -> None:
        check_options(storage, gain, gain_scale, max_v_norm)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,  # type: ignore[arg-type]  # torch narrows it to literals and checks it
            device,
            dtype,
        )
        self._adopt(storage, gain, gain_scale, max_v_norm)

    def reset_parameters(self) -> None:
        """Draw w and the bias as `torch.nn.Conv2d` does, from the global generator."""
        if "weight_v" not in self._parameters:
            super().reset_parameters()
            return
        plain = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,  # type: ignore[arg-type]  # torch types it tuple[int, ...]
            groups=self.groups,
            bias=self.bias is not None,
            device=self.weight_v.device,
            dtype=self.weight_v.dtype,
        )
        _copy_(self, plain)

    def forward(self, input: Tensor) -> Tensor:
        """(B, I, H, W) -> (B, O, H', W')."""
        weight = self._parameters.get("weight")  # read as cheaply as torch's own layer does
        output: Tensor
        if weight is None:
            output = self._conv_forward(input, self.effective_weight(), self.bias)
        else:
            output = self._conv_forward(input, weight, self._parameters["bias"])
        return output


def weight_norm_groups(
    module: nn.Module,
    *,
    where: Callable[[str, nn.Module], bool] | None = None,
    **defaults: Any,
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: the weights to normalize, and the rest.

    Args:
        module: any module; layers with storage="w" inside it are found.
        where: takes the name (as in `module.named_modules()`) and the module of each linear,
            convolution and LSTM layer, plain ones too, and says whether its weights are
            normalized; None takes those of the layers with storage="w".
        defaults: put into both groups, for example `lr`.

    Returns:
        One group with `weight_norm` True (if there are such weights) and one with False (if
        there are others; gains and weight vectors of storage="gv" are plain parameters). Each
        parameter stands in one of them once, in the order of `module.parameters()`.

    Raises:
        UsageError: if `where` takes a layer with storage="gv": it would be normalized twice.
    """
    chosen = _marked if where is None else where
    marked: set[int] = set()
    for name, layer in module.named_modules():
        if not isinstance(layer, _LAYERS) or not chosen(name, layer):
            continue
        if isinstance(layer, WeightNormalized) and layer.storage == "gv":
            raise UsageError(
                f"where takes {name!r}, whose storage is 'gv': its weights would be normalized "
                'twice; leave it out or build it with storage="w"'
            )
        # What a Linear, Conv or LSTM calls its weights, and nothing else starts so.
        marked |= {
            id(p) for n, p in layer.named_parameters(recurse=False) if n.startswith("weight")
        }
    split: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in module.parameters():
        split[id(parameter) in marked].append(parameter)
    return [
        {**defaults, "params": parameters, "weight_norm": flag}
        for flag, parameters in split.items()
        if parameters
    ]


_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LSTM)


def _marked(name: str, layer: nn.Module) -> bool:
    return isinstance(layer, WeightNormalized) and layer.storage == "w"


@torch.no_grad()
def set_vector_norms_(module: nn.Module, v_norm: VNorm) -> None:
    """Give every v of storage "gv" its length at the start; w and g stay as they are.

    With storage "w" the optimizer holds ||v|| and takes the same `v_norm` itself.

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
    """Shorten every v that is longer than its layer's `max_v_norm` to it; w does not change.

    Gradient descent only lengthens v (section 2.1), which lowers the relative step size for good;
    the cap puts a floor under it. It is a projection after the step: call it there, or once
    `optimizer.register_step_post_hook(lambda *_: cap_vector_norms_(network))`.
    """
    for layer, name in computed_weights(module):
        if layer.max_v_norm is not None:
            v = layer.gv_parameters(name)[1]
            factor = layer.max_v_norm / row_norm(v).clamp(min=layer.max_v_norm)
            v.mul_(factor.to(v.dtype))


@torch.no_grad()
def write_weight_(layer: nn.Linear | nn.Conv2d, weight: Tensor) -> None:
    """Write w (O, ...) into a plain or normalized layer, whatever its storage."""
    if isinstance(layer, WeightNormalized):
        layer.set_weight_(weight)
    else:
        layer.weight.copy_(weight)


@torch.no_grad()
def _copy_(layer: WNLinear | WNConv2d, plain: nn.Linear | nn.Conv2d) -> None:
    layer.set_weight_(plain.weight)
    if layer.bias is not None and plain.bias is not None:
        layer.bias.copy_(plain.bias)
