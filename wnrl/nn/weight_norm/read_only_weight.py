"""The computed weight of a gv layer as a tensor that can be read but not written."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

READ_ONLY_MESSAGE = (
    "with storage='gv' this tensor is computed from the layer's Parameters and cannot be "
    "written; use layer.set_weight_(w), for example with w = torch.nn.init.orthogonal_("
    "torch.empty(layer.weight.shape))"
)


class ReadOnlyWeight(Tensor):
    """A tensor whose in-place functions raise an AttributeError.

    Without it `torch.nn.init.X_(layer.weight)` would fill a temporary tensor and change nothing.
    Tensors that share its memory (views, `.data`, `.detach()`) are read-only as well.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Refuse in-place functions; call all others on plain tensors."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        changes_first = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
        in_place_operator = name.startswith("__i") and name not in ("__index__", "__int__")
        target = args[0] if args else kwargs.get("tensor")  # torch.nn.init passes it by name
        if name == "__set__" or ((changes_first or in_place_operator) and isinstance(target, cls)):
            raise AttributeError(READ_ONLY_MESSAGE)
        if isinstance(kwargs.get("out"), cls):
            raise AttributeError(READ_ONLY_MESSAGE)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            shares = (
                isinstance(result, Tensor)
                and isinstance(target, cls)
                and result.untyped_storage().data_ptr() == target.untyped_storage().data_ptr()
            )
            return result.as_subclass(cls) if shares else result


def read_only(computed: Tensor) -> Tensor:
    """Return the tensor as a `ReadOnlyWeight`; as it is while a graph is compiled."""
    return computed if torch.compiler.is_compiling() else computed.as_subclass(ReadOnlyWeight)
