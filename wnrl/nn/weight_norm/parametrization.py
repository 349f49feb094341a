"""What weight-normalized layers share: the gain and vector of each weight, and w where it is read.

Not here: the layers themselves (wnrl.nn.weight_norm.layers, wnrl.nn.weight_norm.lstm) and the
mathematics
(wnrl.kernels).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.ops import decompose, weight_norm, weight_norm_many
from wnrl.kernels.reference import effective_weight
from wnrl.optim.weight_norm import SMALLEST_GAIN, mark_part

STORAGES = ("gv", "w")
GAINS = ("linear", "log", "fixed")
_READ_ONLY = (
    "with storage='gv' this tensor is computed from the layer's Parameters and cannot be "
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


class WeightNormalized(nn.Module):
    """What the layers share. It stands before torch's layer, whose weights it takes over.

    A weight is known by torch's own name ("weight"; an LSTM has several). With storage "gv" the
    Parameters are `<name>_v`, and `<name>_g` or, with gain="log", `<name>_s`.
    """

    storage: str
    gain: str = "linear"
    gain_scale: float = 1.0
    max_v_norm: float | None = None
    _frozen: tuple[
        dict[str, Tensor], ...
    ] = ()  # snapshots of wnrl.nn.weight_norm.cached_weights, the newest last

    def weight_names(self) -> tuple[str, ...]:
        """Torch's names of the weights that are normalized."""
        return ("weight",)

    def _adopt(self, storage: str, gain: str, gain_scale: float, max_v_norm: float | None) -> None:
        """Turn the layer's plain weights into the storage asked for."""
        check_options(storage, gain, gain_scale, max_v_norm)
        self.storage = storage
        self.gain = gain
        self.gain_scale = float(gain_scale)
        self.max_v_norm = max_v_norm
        if storage == "gv":
            for name in self.weight_names():
                weight = self._parameters[name]
                assert weight is not None
                self.store_gv_(name, *self._parts(weight.detach()))

    def store_gv_(self, name: str, g: Tensor, v: Tensor) -> None:
        """Hold one weight as g (log g / c with gain="log") and v from now on.

        Parameters are taken as they are, so that tied layers can share them.
        """
        del self._parameters[name]
        fixed = self.gain == "fixed"
        gain = g if isinstance(g, nn.Parameter) else nn.Parameter(g, requires_grad=not fixed)
        self._parameters[f"{name}_{self._gain_letter}"] = gain
        vector = v if isinstance(v, nn.Parameter) else nn.Parameter(v)
        self._parameters[f"{name}_v"] = vector
        self._weights_replaced()

    def share_gv_(self, name: str, gain: nn.Parameter, v: nn.Parameter) -> None:
        """Take another layer's Parameters in the place of this one's own."""
        self._parameters[f"{name}_{self._gain_letter}"] = gain
        self._parameters[f"{name}_v"] = v
        self._weights_replaced()

    def store_w_(self, name: str, weight: nn.Parameter) -> None:
        """Hold one weight as an ordinary Parameter from now on."""
        self._frozen = ()
        del self._parameters[f"{name}_v"], self._parameters[f"{name}_{self._gain_letter}"]
        self._parameters[name] = weight
        self._weights_replaced()

    def gv_parameters(self, name: str) -> tuple[nn.Parameter, nn.Parameter]:
        """The Parameters (g or log g / c, v) of a weight with storage "gv"."""
        gain = self._parameters[f"{name}_{self._gain_letter}"]
        v = self._parameters[f"{name}_v"]
        assert gain is not None
        assert v is not None
        return gain, v

    def gain_and_vector(self, name: str = "weight") -> tuple[Tensor, Tensor]:
        """(g (O, 1, ...), v (O, ...)) of a weight with storage "gv", differentiable."""
        gain, v = self.gv_parameters(name)
        if self.gain != "log":
            return gain, v
        wide = gain.float() if gain.dtype in (torch.float16, torch.bfloat16) else gain
        return torch.exp(self.gain_scale * wide).to(v.dtype), v

    @property
    def _gain_letter(self) -> str:
        return "s" if self.gain == "log" else "g"

    def _parts(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(g or log g / c, v) of w, both new tensors."""
        v, g = decompose(weight)
        return self._from_gain(g, v.clone())

    def _from_gain(self, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The gain as this layer stores it. A logarithm takes a negative g's sign into v."""
        if self.gain != "log":
            return g, v
        log = g.double().abs().clamp(min=SMALLEST_GAIN).log() / self.gain_scale
        return log.to(g.dtype), torch.where(g < 0, -v, v)

    def _weights_replaced(self) -> None:
        """Other Parameters stand where the weights were."""
        for name in self.weight_names():
            if f"{name}_v" in self._parameters:
                gain, v = self.gv_parameters(name)
                mark_part(gain, "g")
                mark_part(v, "v")

    def effective_weight(self, name: str = "weight") -> Tensor:
        """w (O, ...), differentiable: computed from v and g, or the Parameter itself.

        Inside `wnrl.nn.shared_weights`, or `frozen_weights` without gradients, what was computed
        at its entry.
        """
        if f"{name}_v" not in self._parameters:
            weight = self._parameters[name]
            assert weight is not None
            return weight
        if self._frozen:
            held = self._frozen[-1][name]
            if held.requires_grad or not torch.is_grad_enabled():
                return held
        g, v = self.gain_and_vector(name)
        return weight_norm(v, g)

    def freeze_(self, snapshot: dict[str, Tensor]) -> None:
        """Use these weights, by name (`shared_weights`, `frozen_weights`).

        Where gradients are on, those without a gradient are not used.
        """
        self._frozen = (*self._frozen, snapshot)

    def thaw_(self, snapshot: dict[str, Tensor]) -> None:
        """Forget that snapshot, if it is still there."""
        self._frozen = tuple(held for held in self._frozen if held is not snapshot)

    @torch.no_grad()
    def set_weight_(self, weight: Tensor, name: str = "weight") -> None:
        """Write w in place; with storage="gv" v becomes w and g becomes ||w||, so w is exact.

        A row of zeros gets g = 0 and a diagonal v, and can learn from there. With gain="log" the
        gain is rounded, and that row gets g = 1e-12: a logarithm knows no zero.

        Raises:
            ValueError: if the shape is not the layer's.
        """
        computed = self.storage == "gv"
        own = self.gv_parameters(name)[1] if computed else self.effective_weight(name)
        if weight.shape != own.shape:
            raise ValueError(
                f"set_weight_ got a weight of shape {tuple(weight.shape)}: the layer's is "
                f"{tuple(own.shape)}"
            )
        self._frozen = ()
        if computed:
            parts = self._parts(weight.to(own))
            for mine, given in zip(self.gv_parameters(name), parts, strict=True):
                mine.copy_(given)
        else:
            own.copy_(weight)

    def __getattr__(self, name: str) -> Any:
        parameters = self.__dict__.get("_parameters", {})
        if f"{name}_v" in parameters:
            return _read_only(self.effective_weight(name))
        if name.endswith("_g") and f"{name[:-1]}s" in parameters:
            return _read_only(self.gain_and_vector(name[:-2])[0])
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters", {})
        if f"{name}_v" in parameters or (name.endswith("_g") and f"{name[:-1]}s" in parameters):
            raise AttributeError(_READ_ONLY)
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes along: snapshots of a scope are not."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]  # torch's has no types
        return {name: value for name, value in state.items() if name != "_frozen"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's has no types
        self._weights_replaced()  # deepcopy makes new Parameters without the marks

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "WeightNormalized":
        self._frozen = ()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch's has no types
        self._weights_replaced()  # a move between devices may make new Parameters
        return self

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load plain weights, torch's hook names or its parametrization's, into this storage."""
        self._frozen = ()
        for name in self.weight_names():
            try:
                self._translate(state_dict, prefix, name)
            except ValueError as error:
                error_msgs.append(f"{prefix}{name}: {error}")
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )
        self._weights_replaced()  # assign=True brings other Parameters

    def _translate(self, state_dict: dict[str, Any], prefix: str, name: str) -> None:
        """Put this storage's keys in the place of whichever a state dict has for one weight."""
        key = prefix + name
        originals = f"{prefix}parametrizations.{name}.original"  # 0 is g, 1 is v
        pairs = ((f"{key}_g", f"{key}_v"), (f"{originals}0", f"{originals}1"))
        found = [pair for pair in pairs if pair[0] in state_dict and pair[1] in state_dict]
        if found:
            g, v = (state_dict.pop(part) for part in found[0])
        elif self.storage == "gv" and key in state_dict:
            v, g = decompose(state_dict.pop(key))
        else:
            return
        if self.storage == "w":
            state_dict[key] = effective_weight(v, g)
        else:
            gain, state_dict[f"{key}_v"] = self._from_gain(g, v)
            state_dict[f"{key}_{self._gain_letter}"] = gain

    def extra_repr(self) -> str:
        """torch's own, the storage, and the options that are not the defaults."""
        shown = f"{super().extra_repr()}, storage={self.storage!r}"
        if self.gain != "linear":
            shown += f", gain={self.gain!r}"
        if self.gain == "log" and self.gain_scale != 1.0:
            shown += f", gain_scale={self.gain_scale}"
        return shown if self.max_v_norm is None else f"{shown}, max_v_norm={self.max_v_norm}"


def computed_weights(module: nn.Module) -> Iterator[tuple[WeightNormalized, str]]:
    """Each weight of storage "gv" once: its layer and its name there."""
    for layer in module.modules():
        if isinstance(layer, WeightNormalized) and layer.storage == "gv":
            yield from ((layer, name) for name in layer.weight_names())


def effective_weights(places: Sequence[tuple[WeightNormalized, str]]) -> list[Tensor]:
    """w (O, ...) of each weight of storage "gv", differentiable."""
    pairs = [layer.gain_and_vector(name) for layer, name in places]
    return weight_norm_many([v for _, v in pairs], [g for g, _ in pairs]) if pairs else []


def _read_only(computed: Tensor) -> Tensor:
    # A compiled graph has no use for the guard, and the compiler none for the subclass.
    return computed if torch.compiler.is_compiling() else computed.as_subclass(ReadOnlyWeight)


def check_options(storage: str, gain: str, gain_scale: float, max_v_norm: float | None) -> None:
    """UsageError unless a layer can have these."""
    for name, value, allowed in (("storage", storage, STORAGES), ("gain", gain, GAINS)):
        if value not in allowed:
            raise UsageError(f"{name} is {value!r}: allowed are {', '.join(allowed)}")
    if not 0 < gain_scale < math.inf:
        raise UsageError(f"gain_scale is {gain_scale}: it must be finite and above 0")
    if max_v_norm is not None and not 0 < max_v_norm < math.inf:
        raise UsageError(f"max_v_norm is {max_v_norm}: it must be finite and above 0, or None")
    if storage == "w" and (gain != "linear" or max_v_norm is not None):
        raise UsageError(
            f"gain={gain!r}, max_v_norm={max_v_norm} need storage='gv': with storage='w' the "
            "optimizer holds the gains and weight vectors"
        )
