"""Weight-normalized layers: drop-in for torch's, with one truth (w = g v / ||v||) in two storages.

`storage="gv"`: the Parameters are `weight_g` and `weight_v`; w is computed where it is used, and
any optimizer may step them. `storage="w"`: `weight` is an ordinary Parameter that is only marked;
the optimizers of `wnrl.optim` keep what makes its step a weight-normalized one. Both start from the
same w as torch's own layer and walk the same trajectory.

Not here: the mathematics (wnrl.kernels) and the step (wnrl.optim).
Source: Salimans & Kingma 2016, arXiv 1602.07868, section 2.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wnrl.errors import UsageError
from wnrl.kernels.reference import decompose, effective_weight
from wnrl.optim import VNorm, mark_part, starting_norm

STORAGES = ("gv", "w")
_READ_ONLY = (
    "the weight of a layer with storage='gv' is computed from weight_g and weight_v and cannot be "
    "written; use layer.set_weight_(w), for example with w = torch.nn.init.orthogonal_("
    "torch.empty(layer.weight.shape))"
)


class ReadOnlyWeight(Tensor):
    """The computed weight of a gv layer: an ordinary tensor to read, an error to write.

    Without it `torch.nn.init.X_(layer.weight)` would fill a temporary and change nothing. What
    shares its memory (views, `.data`, `.detach()`) is read-only as well.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Refuse in-place functions; hand on everything else as plain tensors."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        changes_first = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        in_place_operator = name.startswith("__i") and name not in ("__index__", "__int__")
        target = args[0] if args else kwargs.get("tensor")  # torch.nn.init passes it by name
        if name == "__set__" or ((changes_first or in_place_operator) and isinstance(target, cls)):
            raise AttributeError(_READ_ONLY)
        if isinstance(kwargs.get("out"), cls):
            raise AttributeError(_READ_ONLY)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            shares = (
                isinstance(result, Tensor)
                and isinstance(target, cls)
                and result.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
            )
            return result.as_subclass(cls) if shares else result


class _WeightNormalized(nn.Module):
    """What the layers share. It stands before torch's layer, whose `weight` it takes over."""

    storage: str
    weight_g: nn.Parameter
    weight_v: nn.Parameter

    def _adopt(self, storage: str) -> None:
        """Turn the layer's fresh `weight` into the storage asked for."""
        self.storage = storage
        if storage == "gv":
            weight = self._parameters.pop("weight")
            assert weight is not None
            v, g = decompose(weight.detach())
            self.weight_g = nn.Parameter(g)
            self.weight_v = nn.Parameter(v.clone())
            self._mark()

    def _mark(self) -> None:
        if "weight_v" in self._parameters:
            mark_part(self.weight_g, "g")
            mark_part(self.weight_v, "v")

    def effective_weight(self) -> Tensor:
        """w (O, ...), differentiable: computed from v and g, or the Parameter itself."""
        if "weight_v" in self._parameters:
            return effective_weight(self.weight_v, self.weight_g)
        weight = self._parameters["weight"]
        assert weight is not None
        return weight

    @torch.no_grad()
    def set_weight_(self, weight: Tensor) -> None:
        """Write w in place; with storage="gv" v becomes w and g becomes ||w||, so w is exact.

        A row of zeros gets g = 0 and a diagonal v, and can learn from there.

        Raises:
            ValueError: if the shape is not the layer's.
        """
        own = self.weight_v if self.storage == "gv" else self.effective_weight()
        if weight.shape != own.shape:
            raise ValueError(
                f"set_weight_ got a weight of shape {tuple(weight.shape)}: the layer's is "
                f"{tuple(own.shape)}"
            )
        if self.storage == "gv":
            v, g = decompose(weight.to(own))
            self.weight_v.copy_(v)
            self.weight_g.copy_(g)
        else:
            own.copy_(weight)

    def __getattr__(self, name: str) -> Any:
        if name == "weight" and "weight_v" in self.__dict__.get("_parameters", {}):
            return self.effective_weight().as_subclass(ReadOnlyWeight)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "weight" and "weight_v" in self.__dict__.get("_parameters", {}):
            raise AttributeError(_READ_ONLY)
        super().__setattr__(name, value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's has no types
        self._mark()  # deepcopy makes new Parameters without the marks

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "_WeightNormalized":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's has no types
        self._mark()  # a move between devices may make new Parameters
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load either storage's keys, plain or normalized, into this layer's storage."""
        weight, g, v = (prefix + name for name in ("weight", "weight_g", "weight_v"))
        if self.storage == "gv" and weight in state_dict:
            state_dict[v], state_dict[g] = decompose(state_dict.pop(weight))
        elif self.storage == "w" and g in state_dict and v in state_dict:
            state_dict[weight] = effective_weight(state_dict.pop(v), state_dict.pop(g))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._mark()  # assign=True brings other Parameters

    def extra_repr(self) -> str:
        """torch's own, and the storage."""
        return f"{super().extra_repr()}, storage={self.storage!r}"


class WNLinear(_WeightNormalized, nn.Linear):
    """`torch.nn.Linear` with weight normalization: (..., I) -> (..., O).

    Args:
        in_features: I.
        out_features: O.
        bias: whether to add a bias.
        device: as in torch.
        dtype: as in torch.
        storage: "gv" (Parameters `weight_g` (O, 1) and `weight_v` (O, I); `weight` can be read,
            and written with `set_weight_`) or "w" (`weight` is a Parameter, for `WNAdam`).

    Raises:
        UsageError: on another storage.
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
    ) -> None:
        _check_storage(storage)
        super().__init__(in_features, out_features, bias, device, dtype)
        self._adopt(storage)

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
        return nn.functional.linear(input, self.effective_weight(), self.bias)


class WNConv2d(_WeightNormalized, nn.Conv2d):
    """`torch.nn.Conv2d` with weight normalization, one gain per filter.

    Arguments as in torch (`padding_mode` and `groups` too), and `storage` as in `WNLinear`;
    `weight_g` is (O, 1, 1, 1), `weight_v` (O, I / groups, kH, kW).

    Raises:
        UsageError: on another storage.
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
    ) -> None:
        _check_storage(storage)
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
        self._adopt(storage)

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
        output: Tensor = self._conv_forward(input, self.effective_weight(), self.bias)
        return output


def weight_norm_groups(module: nn.Module, **defaults: Any) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: the marked weights, and the rest.

    Args:
        module: any module; layers with storage="w" inside it are found.
        defaults: put into both groups, for example `lr`.

    Returns:
        One group with `weight_norm` True (if there are marked weights) and one with False (if
        there are others; gains and weight vectors of storage="gv" are plain parameters). Each
        parameter stands in one of them once, in the order of `module.parameters()`.
    """
    marked = {
        id(layer.effective_weight())
        for layer in module.modules()
        if isinstance(layer, _WeightNormalized) and layer.storage == "w"
    }
    split: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in module.parameters():
        split[id(parameter) in marked].append(parameter)
    return [
        {**defaults, "params": parameters, "weight_norm": flag}
        for flag, parameters in split.items()
        if parameters
    ]


@torch.no_grad()
def set_vector_norms_(module: nn.Module, v_norm: VNorm) -> None:
    """Give every v of storage "gv" its length at the start; w and g stay as they are.

    With storage "w" the optimizer holds ||v|| and takes the same `v_norm` itself.

    Args:
        module: holds the layers.
        v_norm: "weight" (||w||), "paper" (0.05 sqrt(fan_in), section 3), "unit", or a tensor () or
            (O,).
    """
    for layer in module.modules():
        if isinstance(layer, _WeightNormalized) and layer.storage == "gv":
            rows = layer.weight_v.flatten(1)  # (O, ...) -> (O, K)
            gain = layer.weight_g.abs().flatten(1)  # (O, 1, ...) -> (O, 1)
            target = starting_norm(v_norm, gain, rows.shape[1])
            length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            factor = torch.where((length > 0) & (target > 0), target / length, 1.0)
            layer.weight_v.mul_(factor.reshape(layer.weight_g.shape))


@torch.no_grad()
def write_weight_(layer: nn.Linear | nn.Conv2d, weight: Tensor) -> None:
    """Write w (O, ...) into a plain or normalized layer, whatever its storage."""
    if isinstance(layer, _WeightNormalized):
        layer.set_weight_(weight)
    else:
        layer.weight.copy_(weight)


@torch.no_grad()
def _copy_(layer: WNLinear | WNConv2d, plain: nn.Linear | nn.Conv2d) -> None:
    layer.set_weight_(plain.weight)
    if layer.bias is not None and plain.bias is not None:
        layer.bias.copy_(plain.bias)


def _check_storage(storage: str) -> None:
    if storage not in STORAGES:
        raise UsageError(f"storage is {storage!r}: allowed are {', '.join(STORAGES)}")
