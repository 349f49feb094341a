"""Which implementation of weight normalization a tensor gets: `triton`, `aten` or `reference`.

Triton on CUDA and ROCm; ATen's own kernels on the CPU and where Triton cannot run; plain PyTorch
(reference.py) on anything else. The choice is made once per device type, with one log line. The
environment variable WNRL_BACKEND overrides it; with TRITON_INTERPRET=1, `triton` runs on CPU
tensors too, in Triton's interpreter (slow: for tests).
"""

import functools
import importlib.util
import logging
import os
import shutil
import sysconfig
from pathlib import Path

from torch import Tensor

from wnrl._settings import UsageError, nearest

BACKENDS = ("triton", "aten", "reference")
VARIABLE = "WNRL_BACKEND"

_LOG = logging.getLogger(__name__)
_INSTALL = "pip install triton (Linux; torch's CUDA builds bring it)"
_TRUE = ("1", "true", "yes", "on", "y")  # what Triton itself takes for TRITON_INTERPRET


@functools.cache
def backend_of(device_type: str) -> str:
    """The backend of every tensor on "cpu", "cuda" (ROCm too) or another type of device.

    Returns:
        One of `BACKENDS`; the same for the life of the process (`backend_of.cache_clear()` in
        tests).

    Raises:
        UsageError: if WNRL_BACKEND is not a backend, or one that cannot run on the device.
    """
    backend, reason, level = _choose(device_type, os.environ.get(VARIABLE, "").strip())
    _LOG.log(level, "weight norm on %s: %s (%s)", device_type, backend, reason)
    return backend


def use_triton(tensor: Tensor) -> bool:
    """Whether this tensor's kernels are Triton's."""
    return backend_of(tensor.device.type) == "triton"


def triton_obstacle() -> str:
    """Why Triton cannot compile and launch here, or nothing if it can."""
    if importlib.util.find_spec("triton") is None:
        return f"Triton is not installed: {_INSTALL}"
    if not (os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")):
        return "Triton needs a C compiler for its launcher: install gcc or set CC"
    if not (_python_headers() / "Python.h").exists():
        return "Triton needs Python's headers for its launcher: install python3-dev"
    return ""


def _python_headers() -> Path:
    """Where Triton's own build looks for them: Debian's default scheme names another folder."""
    scheme = sysconfig.get_default_scheme()
    if scheme == "posix_local":
        scheme = "posix_prefix"
    return Path(sysconfig.get_path("include", scheme))


def _choose(device_type: str, asked: str) -> tuple[str, str, int]:
    """(backend, reason, log level)."""
    if asked:
        return _checked(device_type, asked), f"{VARIABLE}={asked}", logging.INFO
    if device_type == "cpu":
        return "aten", "the CPU's choice", logging.INFO
    if device_type == "meta":
        return "reference", "shapes alone", logging.DEBUG
    if device_type != "cuda":
        return "reference", "no kernel for this device", logging.WARNING
    if obstacle := triton_obstacle():
        return "aten", f"slower: {obstacle}", logging.WARNING
    return "triton", "one launch for all layers", logging.INFO


def _checked(device_type: str, asked: str) -> str:
    if asked not in BACKENDS:
        raise UsageError(
            f"{VARIABLE} is {asked!r}: allowed are {', '.join(BACKENDS)}{nearest(asked, BACKENDS)}"
        )
    if asked == "aten" and device_type not in ("cpu", "cuda"):
        raise UsageError(
            f"{VARIABLE}=aten on {device_type}: ATen's kernels are for cpu and cuda; use reference"
        )
    if asked != "triton":
        return asked
    interpreted = os.environ.get("TRITON_INTERPRET", "").lower() in _TRUE
    if interpreted and importlib.util.find_spec("triton") is None:
        raise UsageError(f"{VARIABLE}=triton, but Triton is not installed: {_INSTALL}")
    if not interpreted:
        if device_type != "cuda":
            raise UsageError(
                f"{VARIABLE}=triton on {device_type}: Triton runs on cuda; use aten, or set "
                "TRITON_INTERPRET=1 as well to run the kernels in its slow interpreter"
            )
        if obstacle := triton_obstacle():
            raise UsageError(f"{VARIABLE}=triton, but {obstacle}")
    return asked
