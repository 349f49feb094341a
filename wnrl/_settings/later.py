"""Import heavy modules when they are used, so that `--help` and error messages need no torch.

A catalogue's records name their layers and networks through `Later`. Under `TYPE_CHECKING` the
same names are imported as usual, so that type checkers and import-linter see them.
"""

from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # not typing's: see wnrl/__init__.py
    from collections.abc import Callable
    from typing import Any


class Later:
    """A module that is imported when one of its functions or classes is first used.

    Its attributes are placeholders until the module is loaded, and the real ones after that.

    Args:
        module: its name, `torch.nn`.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions, such as `__wrapped__`
            raise AttributeError(name)
        loaded = getattr(sys.modules.get(self._module), name, None)
        return Placeholder(self._module, name) if loaded is None else loaded


class Placeholder:
    """A function or class that is imported when it is called. It equals what it stands for."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _resolved(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._resolved()(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolved(), name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Placeholder):
            return (self._module, self._name) == (other._module, other._name)
        return bool(self._resolved() == other)

    def __hash__(self) -> int:
        return hash(self._resolved())

    def __repr__(self) -> str:
        return f"{self._module}.{self._name}"


def names_of(module: str) -> Callable[[str], Any]:
    """Return a package's `__getattr__` that takes the names in the `__all__` of a module.

    Args:
        module: imported when a name is first used; the package imports it under `TYPE_CHECKING`.
    """

    def take(name: str) -> Any:
        package = module.rpartition(".")[0]
        if name != "__all__" and name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        exported = importlib.import_module(module)
        if name == "__all__":
            return exported.__all__
        if name not in exported.__all__:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(exported, name)

    return take
