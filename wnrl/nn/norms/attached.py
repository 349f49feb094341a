"""Normalization of a layer's output inside the layer, for networks that somebody else wrote.

The networks of `wnrl.nn` hold a normalization next to its layer. In any other `nn.Sequential` that
would shift the positions which its forward may use: `self.cnn[2]`, slices, `len`. Here the layer
stays the same object of the same type at the same position, with a child `norm`.
"""

from typing import Any

from torch import Tensor, nn


def attach_norm_(parent: nn.Module, layer: nn.Module, norm: nn.Module) -> None:
    """Let calls of a layer return its normalized output.

    `parent` also loads states in which the normalization is its child `<name>_norm`, as in the
    networks of `wnrl.nn` and in files that older versions saved.

    Args:
        parent: module that holds the layer.
        layer: gets the child `norm`.
        norm: layer's output -> the same shape.
    """
    if not any(map(_has_norm, parent.children())):
        parent.register_load_state_dict_pre_hook(_read_names_of_siblings)
    layer.norm = norm
    # In another process, a later hook would get this one's number and replace it. The handle, which
    # is pickled with the layer, reserves the number there.
    layer.__dict__["_norm_handle"] = layer.register_forward_hook(_normalize_output)


def _has_norm(layer: nn.Module | None) -> bool:
    return layer is not None and "_norm_handle" in layer.__dict__


def _normalize_output(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    normalized: Tensor = layer.norm(output)
    return normalized


def _read_names_of_siblings(
    parent: nn.Module, state_dict: dict[str, Any], prefix: str, *others: Any
) -> None:
    """Rename `<name>_norm.*` to `<name>.norm.*` before a state is loaded."""
    for name, child in parent._modules.items():
        if _has_norm(child):
            sibling = f"{prefix}{name}_norm."
            for key in [key for key in state_dict if key.startswith(sibling)]:
                state_dict[f"{prefix}{name}.norm.{key.removeprefix(sibling)}"] = state_dict.pop(key)
