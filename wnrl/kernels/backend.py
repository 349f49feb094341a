"""Choice of the implementation of kernels: `triton`, `numba`, `aten` or `reference`.

Triton on CUDA and ROCm; numba for the optimizer's step and for images on the CPU; ATen's kernels
for layers on the CPU and wherever Triton or numba cannot run; plain PyTorch (`reference`) on other
devices. The choice is made and logged once per device type. The environment variable WNRL_BACKEND
overrides it; with TRITON_INTERPRET=1, `triton` also runs on CPU tensors, in Triton's slow
interpreter, for tests.
"""

import functools
import importlib.util
import logging
import os
import shutil
import sysconfig
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from wnrl._settings import UsageError, nearest

BACKENDS = ("triton", "numba", "aten", "reference")
VARIABLE = "WNRL_BACKEND"

_LOG = logging.getLogger(__name__)
_INSTALL = "pip install triton (Linux; torch's CUDA builds bring it)"
_TRUE = ("1", "true", "yes", "on", "y")  # values that Triton accepts for TRITON_INTERPRET


@functools.cache
def backend_of(device_type: str) -> str:
    """Return the backend of all tensors on a type of device: "cpu", "cuda" (also ROCm), or another.

    Returns:
        One of `BACKENDS`; the same for the life of the process (tests call
        `backend_of.cache_clear()`).

    Raises:
        UsageError: WNRL_BACKEND is not a backend, or one that cannot run on the device.
    """
    backend, reason, level = _choose(device_type, os.environ.get(VARIABLE, "").strip())
    _LOG.log(level, "kernels on %s: %s (%s)", device_type, backend, reason)
    return backend


def capturing(tensor: Tensor) -> bool:
    """Return whether work on this tensor is now captured in a CUDA graph."""
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def use_triton(tensor: Tensor) -> bool:
    """Return whether this tensor's kernels are Triton's."""
    return backend_of(tensor.device.type) == "triton"


def use_numba(tensor: Tensor) -> bool:
    """Return whether the optimizer's step on this tensor, or the scaling of images, is numba's."""
    return backend_of(tensor.device.type) == "numba" and _numba_imports()


@functools.cache
def _numba_imports() -> bool:
    """Import numba, which takes most of a second; False, with a warning, if it cannot be."""
    try:
        import_module("wnrl.kernels.optimizer_numba")
    except Exception as error:  # it refuses versions of numpy and Python that it does not know
        _LOG.warning("kernels on cpu: aten (slower: numba cannot be imported: %s)", error)
        return False
    return True


def numba_obstacle() -> str:
    """Return why numba cannot run; "" if it can, as far as is known without importing it."""
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed: pip install numba"
    return ""


def triton_obstacle() -> str:
    """Return why Triton cannot compile and launch on this machine; "" if it can."""
    if importlib.util.find_spec("triton") is None:
        return f"Triton is not installed: {_INSTALL}"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler for its launcher: install gcc or set CC"
    if not (_python_headers() / "Python.h").exists():
        return "Triton needs Python's headers for its launcher: install python3-dev"
    return ""


def _python_headers() -> Path:
    """Return the folder in which Triton looks; Debian's default scheme names another one."""
    scheme = sysconfig.get_default_scheme()
    if scheme == "posix_local":
        scheme = "posix_prefix"
    return Path(sysconfig.get_path("include", scheme))


def _choose(device_type: str, requested: str) -> tuple[str, str, int]:
    """Return (backend, reason, log level)."""
    if device_type == "meta":
        return "reference", "shapes only", logging.DEBUG
    if requested:
        return _checked(device_type, requested), f"{VARIABLE}={requested}", logging.INFO
    if device_type == "cpu":
        if obstacle := numba_obstacle():
            return "aten", f"slower: {obstacle}", logging.WARNING
        return "numba", "one pass over each row", logging.INFO
    if device_type != "cuda":
        return "reference", "no kernel for this device", logging.WARNING
    if obstacle := triton_obstacle():
        return "aten", f"slower: {obstacle}", logging.WARNING
    return "triton", "one launch for all layers", logging.INFO


def _checked(device_type: str, requested: str) -> str:
    """Return the requested backend if it can run on the device, else raise a UsageError."""
    if requested not in BACKENDS:
        raise UsageError(
            f"{VARIABLE} is {requested!r}: allowed are {', '.join(BACKENDS)}"
            + nearest(requested, BACKENDS)
        )
    if requested == "aten" and device_type not in ("cpu", "cuda"):
        raise UsageError(
            f"{VARIABLE}=aten on {device_type}: ATen's kernels run on cpu and cuda; use reference"
        )
    if requested == "numba":
        if device_type != "cpu":
            raise UsageError(f"{VARIABLE}=numba on {device_type}: numba runs on cpu; use triton")
        if obstacle := numba_obstacle():
            raise UsageError(f"{VARIABLE}=numba, but {obstacle}")
    if requested != "triton":
        return requested
    interpreted = os.environ.get("TRITON_INTERPRET", "").lower() in _TRUE
    if interpreted and importlib.util.find_spec("triton") is None:
        raise UsageError(f"{VARIABLE}=triton, but Triton is not installed: {_INSTALL}")
    if not interpreted:
        if device_type != "cuda":
            raise UsageError(
                f"{VARIABLE}=triton on {device_type}: Triton runs on cuda; use aten, or also set "
                "TRITON_INTERPRET=1 to run the kernels in its slow interpreter"
            )
        if obstacle := triton_obstacle():
            raise UsageError(f"{VARIABLE}=triton, but {obstacle}")
    return requested
