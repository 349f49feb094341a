"""Base class of weight-normalized layers: gain and vector of each weight, and w computed from them.

The layers are in `layers` and `lstm`, the mathematics in `wnrl.kernels`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from wnrl._settings import UsageError
from wnrl.kernels.ops import decompose, weight_norm, weight_norm_many
from wnrl.kernels.reference import effective_weight
from wnrl.kernels.row_layout import output_back, output_first
from wnrl.nn.weight_norm.read_only_weight import READ_ONLY_MESSAGE, read_only
from wnrl.optim.normalizing_step import SMALLEST_GAIN, mark_part

STORAGES = ("gv", "w")
GAINS = ("linear", "log", "fixed")


class WeightNormalized(nn.Module):
    """Mixin of weight-normalized layers; list it before torch's layer, whose weights it takes over.

    Each weight keeps torch's name ("weight"; an LSTM has several). With storage "gv" the Parameters
    are `<name>_v`, and `<name>_g` or, with gain="log", `<name>_s`.

    Args:
        arguments: as in torch's layer.
        storage: "gv" (Parameters `weight_g` (O, 1, ...) and `weight_v` (O, ...); `weight` can be
            read, and written with `set_weight_`) or "w" (`weight` is a Parameter, for `WNAdam`).
        gain: "linear"; "log" (the Parameter is `weight_s` and g = exp(gain_scale s), section 2,
            for gains of any magnitude; `weight_g` is readable); "fixed" (`weight_g` requires no
            gradient: only directions are learned). Storage "w" supports only "linear".
        gain_scale: c in g = exp(c s): the larger, the faster the gain learns.
        max_v_norm: cap on ||v|| that `cap_vector_norms_` applies, None for no cap; storage "gv"
            only.
        options: as in torch's layer.

    Raises:
        UsageError: an unknown storage or gain, or options that the storage does not support.
    """

    output_axis: int = 0  # of the weights; their gains have one number per index of it
    storage: str
    gain: str = "linear"
    gain_scale: float = 1.0
    max_v_norm: float | None = None
    _frozen: tuple[dict[str, Tensor], ...] = ()  # snapshots from `cached_weights`, newest last

    def __init__(
        self,
        *arguments: Any,
        storage: str = "gv",
        gain: str = "linear",
        gain_scale: float = 1.0,
        max_v_norm: float | None = None,
        **options: Any,
    ) -> None:
        check_options(storage, gain, gain_scale, max_v_norm)
        super().__init__(*arguments, **options)
        self._adopt(storage, gain, gain_scale, max_v_norm)

    def weight_names(self) -> tuple[str, ...]:
        """Return torch's names of the normalized weights."""
        return ("weight",)

    def plain_names(self) -> Sequence[str]:
        """Return the names of torch's Parameters, in the order in which torch draws them."""
        return (*self.weight_names(), *(n for n in self._parameters if n.startswith("bias")))

    @classmethod
    def check_layer(cls, layer: nn.Module, storage: str) -> None:
        """Raise a UsageError if a layer of torch's has an option that the storage cannot have."""

    def _adopt(self, storage: str, gain: str, gain_scale: float, max_v_norm: float | None) -> None:
        """Turn the layer's plain weights into a storage; frozen ones stay frozen."""
        check_options(storage, gain, gain_scale, max_v_norm)
        self.check_layer(self, storage)
        self.storage = storage
        self.gain = gain
        self.gain_scale = float(gain_scale)
        self.max_v_norm = max_v_norm
        if storage == "gv":
            for name in self.weight_names():
                weight = self._parameters[name]
                assert weight is not None
                check_weight(weight, f"{name} of a {type(self).__name__}")
                self.store_gv_(name, *self._parts(weight.detach()))
                for part in self.gv_parameters(name):  # a fixed gain stays fixed
                    part.requires_grad_(part.requires_grad and weight.requires_grad)

    def store_gv_(self, name: str, g: Tensor, v: Tensor) -> None:
        """Replace one weight by g (log g / c with gain="log") and v.

        Parameters are stored without a copy, so that tied layers can share them.
        """
        del self._parameters[name]
        fixed = self.gain == "fixed"
        gain = g if isinstance(g, nn.Parameter) else nn.Parameter(g, requires_grad=not fixed)
        self._parameters[f"{name}_{self._gain_letter}"] = gain
        vector = v if isinstance(v, nn.Parameter) else nn.Parameter(v)
        self._parameters[f"{name}_v"] = vector
        self._weights_replaced()

    def share_gv_(self, name: str, gain: nn.Parameter, v: nn.Parameter) -> None:
        """Replace the Parameters of one weight by another layer's."""
        self._parameters[f"{name}_{self._gain_letter}"] = gain
        self._parameters[f"{name}_v"] = v
        self._weights_replaced()

    def store_w_(self, name: str, weight: nn.Parameter) -> None:
        """Replace g and v of one weight by an ordinary Parameter."""
        self._frozen = ()
        del self._parameters[f"{name}_v"], self._parameters[f"{name}_{self._gain_letter}"]
        self._parameters[name] = weight
        self._weights_replaced()

    def gv_parameters(self, name: str) -> tuple[nn.Parameter, nn.Parameter]:
        """Return the Parameters (g or log g / c, v) of a weight with storage "gv"."""
        gain = self._parameters[f"{name}_{self._gain_letter}"]
        v = self._parameters[f"{name}_v"]
        assert gain is not None
        assert v is not None
        return gain, v

    def gain_and_vector(self, name: str = "weight") -> tuple[Tensor, Tensor]:
        """Return (g (O, 1, ...), v (O, ...)) of a weight with storage "gv", differentiable.

        They are views with the output axis first.
        """
        gain, v = (output_first(part, self.output_axis) for part in self.gv_parameters(name))
        if self.gain != "log":
            return gain, v
        wide = gain.float() if gain.dtype in (torch.float16, torch.bfloat16) else gain
        return torch.exp(self.gain_scale * wide).to(v.dtype), v

    @property
    def _gain_letter(self) -> str:
        return "s" if self.gain == "log" else "g"

    def _parts(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (g or log g / c, v) of w, both new tensors in their Parameters' shapes."""
        v, g = (output_back(x, self.output_axis) for x in self._decompose(weight))
        return self._from_gain(g, v.clone())

    def _decompose(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return (v (O, ...), g (O, 1, ...)) of w, the output axis first."""
        return decompose(output_first(weight, self.output_axis))

    def _from_gain(self, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return g and v as this layer stores them; gain="log" moves the sign of g into v."""
        if self.gain != "log":
            return g, v
        log = g.double().abs().clamp(min=SMALLEST_GAIN).log() / self.gain_scale
        return log.to(g.dtype), torch.where(g < 0, -v, v)

    def _weights_replaced(self) -> None:
        """Mark gains and vectors after Parameters have been replaced."""
        for name in self.weight_names():
            if f"{name}_v" in self._parameters:
                gain, v = self.gv_parameters(name)
                mark_part(gain, "g")
                mark_part(v, "v")

    def effective_weight(self, name: str = "weight") -> Tensor:
        """Return w, differentiable: computed from v and g, or the Parameter itself.

        Inside `wnrl.nn.shared_weights`, and inside `frozen_weights` without gradients, it is the
        weight computed when the scope was entered.
        """
        if f"{name}_v" not in self._parameters:
            weight = self._parameters.get(name)  # not there if torch prunes it
            return getattr(self, name) if weight is None else weight
        if self._frozen:
            snapshot = self._frozen[-1][name]
            if snapshot.requires_grad or not torch.is_grad_enabled():
                return snapshot
        g, v = self.gain_and_vector(name)
        computed = weight_norm(v, g)
        # Not a call for axis 0: where torch.compile breaks a graph, it would compile the call, and
        # warn that w is not a leaf.
        return output_back(computed, self.output_axis) if self.output_axis else computed

    def weight_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """Return what a layer with one weight computes with."""
        weight = self._parameters.get("weight")  # as cheap as in torch's layer
        if weight is None or "bias" not in self._parameters:  # computed or pruned
            return self.effective_weight(), self.bias
        return weight, self._parameters["bias"]

    def reset_parameters(self) -> None:
        """Draw every w and bias as torch's layer does, from the global generator."""
        stored = self._parameters
        computed = [name for name in self.weight_names() if f"{name}_v" in stored]
        if not computed:  # storage "w", or in torch's constructor
            super().reset_parameters()  # type: ignore[misc]  # the layer's that follows
            return
        plain = {
            name: nn.Parameter(torch.empty_like(self.gv_parameters(name)[1]))
            if name in computed
            else stored[name]
            for name in self.plain_names()
        }
        self.__dict__["_parameters"] = plain
        try:
            super().reset_parameters()  # type: ignore[misc]
        finally:
            self.__dict__["_parameters"] = stored
        for name in computed:
            drawn = plain[name]
            assert drawn is not None
            self.set_weight_(drawn, name)

    def freeze_(self, snapshot: dict[str, Tensor]) -> None:
        """Use these weights, by name, for `shared_weights` and `frozen_weights`.

        While gradients are enabled, weights that require none are not used.
        """
        self._frozen = (*self._frozen, snapshot)

    def thaw_(self, snapshot: dict[str, Tensor]) -> None:
        """Remove a snapshot, if it is still in use."""
        self._frozen = tuple(each for each in self._frozen if each is not snapshot)

    @torch.no_grad()
    def set_weight_(self, weight: Tensor, name: str = "weight") -> None:
        """Write w in place; with storage="gv" v becomes w and g becomes ||w||, so w is exact.

        A row of zeros gets g = 0 and a v of equal elements, so that it can learn. With gain="log"
        the gain is rounded, and such a row gets g = 1e-12 instead of 0.

        Raises:
            ValueError: the shape is not the layer's.
            UsageError: the weight is pruned or parametrized, so a write would be lost.
        """
        computed = self.storage == "gv"
        target = self.gv_parameters(name)[1] if computed else self.effective_weight(name)
        if weight.shape != target.shape:
            raise ValueError(
                f"set_weight_ got a weight of shape {tuple(weight.shape)}: the layer's is "
                f"{tuple(target.shape)}"
            )
        self._frozen = ()
        if computed:
            parts = self._parts(weight.to(target))
            for parameter, value in zip(self.gv_parameters(name), parts, strict=True):
                parameter.copy_(value)
        elif self._parameters.get(name) is None:
            raise UsageError(
                f"set_weight_ cannot write {name!r}, which is pruned or parametrized: make that "
                "permanent first (torch.nn.utils.prune.remove, parametrize.remove_parametrizations)"
            )
        else:
            target.copy_(weight)

    def __prepare_scriptable__(self) -> NoReturn:
        """Refuse torch.jit.script, which cannot read how the weight is found."""
        raise UsageError(
            f"torch.jit.script got a {type(self).__name__}, which it cannot compile: turn the "
            "network into plain layers with wnrl.nn.fold_(network) first, or use torch.jit.trace"
        )

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a Parameter; refuse the one of torch's pruning for a computed weight."""
        if name.endswith("_orig"):
            self._refuse_computed(name.removesuffix("_orig"), "pruned")
        super().register_parameter(name, param)

    def __delattr__(self, name: str) -> None:
        """Delete an attribute; refuse gains and vectors, which torch's parametrization deletes."""
        self._refuse_computed(name, "deleted or parametrized")
        super().__delattr__(name)

    def _refuse_computed(self, name: str, action: str) -> None:
        weight = name[:-2] if name.endswith(("_g", "_v", "_s")) else name
        if f"{weight}_v" in self._parameters:
            raise UsageError(
                f"{name!r} cannot be {action} with storage='gv', which computes {weight!r} from "
                "g and v: build the layer with storage='w', or fold_ the network first"
            )

    def __getattr__(self, name: str) -> Any:
        parameters = self.__dict__.get("_parameters", {})
        if f"{name}_v" in parameters:
            return read_only(self.effective_weight(name))
        if name.endswith("_g") and f"{name[:-1]}s" in parameters:
            gain = self.gain_and_vector(name[:-2])[0]
            return read_only(output_back(gain, self.output_axis))
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        parameters = self.__dict__.get("_parameters", {})
        if f"{name}_v" in parameters or (name.endswith("_g") and f"{name[:-1]}s" in parameters):
            raise AttributeError(READ_ONLY_MESSAGE)
        if self.__dict__.get("_is_replica") and name.endswith(("_g", "_v", "_s")):
            parameters[name] = value  # nn.DataParallel's copy, which torch would make an attribute
            return
        super().__setattr__(name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles, without snapshots of a scope."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[no-untyped-call]  # torch
        return {name: value for name, value in state.items() if name != "_frozen"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch
        self._weights_replaced()  # deepcopy makes new Parameters without the marks

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "WeightNormalized":
        self._frozen = ()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch
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
        """Load plain weights, or g and v under the names of torch's hook or parametrization.

        torch's default for a transposed convolution has one gain per input channel (dim=0): then
        w is loaded, and the gains are computed from it.
        """
        self._frozen = ()
        for name in self.weight_names():
            try:
                self._translate(state_dict, prefix, name)
            except (ValueError, IndexError) as error:
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
        self._weights_replaced()  # assign=True replaces Parameters

    def _translate(self, state_dict: dict[str, Any], prefix: str, name: str) -> None:
        """Replace the keys that a state dict has for one weight by this storage's keys."""
        key = prefix + name
        originals = f"{prefix}parametrizations.{name}.original"  # 0 is g, 1 is v
        pairs = ((f"{key}_g", f"{key}_v"), (f"{originals}0", f"{originals}1"))
        complete = [pair for pair in pairs if pair[0] in state_dict and pair[1] in state_dict]
        if complete:
            g, v = (state_dict.pop(part) for part in complete[0])
            inputs = (*v.shape[:1], *(1,) * (v.ndim - 1))
            if self.output_axis == 0 or g.shape != inputs:
                self._put_parts(state_dict, key, g, v)
                return
            # torch's default, dim=0: gains of a transposed convolution's input channels.
            state_dict[key] = effective_weight(v, g)
        if self.storage == "gv" and key in state_dict:
            v, g = self._decompose(state_dict.pop(key))
            v, g = (output_back(x, self.output_axis) for x in (v, g))
            self._put_parts(state_dict, key, g, v)

    def _put_parts(self, state_dict: dict[str, Any], key: str, g: Tensor, v: Tensor) -> None:
        """Add the keys that this storage has for g and v to a state dict."""
        if self.storage == "w":
            g, v = (output_first(x, self.output_axis) for x in (g, v))
            state_dict[key] = output_back(effective_weight(v, g), self.output_axis)
        else:
            gain, state_dict[f"{key}_v"] = self._from_gain(g, v)
            state_dict[f"{key}_{self._gain_letter}"] = gain

    def extra_repr(self) -> str:
        """Show torch's arguments, the storage, and options that differ from their defaults."""
        shown = f"{super().extra_repr()}, storage={self.storage!r}"
        if self.gain != "linear":
            shown += f", gain={self.gain!r}"
        if self.gain == "log" and self.gain_scale != 1.0:
            shown += f", gain_scale={self.gain_scale}"
        return shown if self.max_v_norm is None else f"{shown}, max_v_norm={self.max_v_norm}"


def computed_weights(module: nn.Module) -> Iterator[tuple[WeightNormalized, str]]:
    """Yield each weight of storage "gv" once, as its layer and its name there."""
    for layer in module.modules():
        if isinstance(layer, WeightNormalized) and layer.storage == "gv":
            yield from ((layer, name) for name in layer.weight_names())


def effective_weights(places: Sequence[tuple[WeightNormalized, str]]) -> list[Tensor]:
    """Return w of each weight of storage "gv", differentiable."""
    pairs = [layer.gain_and_vector(name) for layer, name in places]
    weights = weight_norm_many([v for _, v in pairs], [g for g, _ in pairs]) if pairs else []
    return [
        output_back(weight, layer.output_axis)
        for weight, (layer, _) in zip(weights, places, strict=True)
    ]


def check_weight(weight: Tensor, described: str) -> None:
    """Raise a UsageError, which says what the weight is, unless its rows have a norm."""
    if weight.numel() == 0 or not weight.is_floating_point():
        raise UsageError(
            f"{described} is {tuple(weight.shape)} {weight.dtype}: weight normalization needs at "
            "least one element and a real floating-point type; keep torch's layer (`where` of "
            "convert_)"
        )


def check_options(storage: str, gain: str, gain_scale: float, max_v_norm: float | None) -> None:
    """Raise a UsageError unless a layer can have these options."""
    for name, value, allowed in (("storage", storage, STORAGES), ("gain", gain, GAINS)):
        if value not in allowed:
            raise UsageError(f"{name} is {value!r}: allowed are {', '.join(allowed)}")
    if not 0 < gain_scale < math.inf:
        raise UsageError(f"gain_scale is {gain_scale}: it must be finite and above 0")
    if max_v_norm is not None and not 0 < max_v_norm < math.inf:
        raise UsageError(f"max_v_norm is {max_v_norm}: it must be finite and above 0, or None")
    if storage == "w" and (gain != "linear" or max_v_norm is not None):
        raise UsageError(
            f"gain={gain!r}, max_v_norm={max_v_norm} require storage='gv': with storage='w' the "
            "optimizer holds the gains and weight vectors"
        )
