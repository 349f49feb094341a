"""Load a file of `torch.save` that a stranger may have written: tensors and plain values only.

`torch.load(weights_only=True)` runs no code of the file. What it does not limit is limited here:
compressed entries, tensors that are larger than the file, and values that contain themselves.
"""

import os
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wnrl.train.untrusted.files import open_regular

_PICKLE_BYTES = 32 << 20  # the largest run's is below 1 MiB
_DEEPEST = 50
_LARGEST = 2**256  # states of random generators are integers of 128 bits
_ENTRY = re.compile(r"[^/]+/(data\.pkl|version|byteorder|\.[a-z_]+|\.data/\w+|data/[0-9]+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # torch writes parts of its messages in bold
_PLAIN = (int, float, str, bool, type(None))


def load_plain(path: Path) -> dict[str, Any]:
    """Load a dictionary of tensors, on the CPU, and plain values.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or holds something else; the message is one line.
    """
    pickle_bytes = _check_archive(path)
    try:
        # A tensor is a part of the mapped file, so it cannot reach beyond it.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can fail in any operation
        kind = "" if isinstance(error, pickle.UnpicklingError) else f"{type(error).__name__}: "
        first_line = _COLOUR.sub("", str(error)).partition("\n")[0]
        problem = f"{kind}{first_line}"[:120]
        raise ValueError(f"torch cannot load it ({problem})") from error
    if type(loaded) not in (dict, OrderedDict):
        raise ValueError(f"it holds a {type(loaded).__name__}, not a dictionary")
    content: dict[str, Any] = _Copy(path.stat().st_size, pickle_bytes).of(loaded, 0)
    return content


def _check_archive(path: Path) -> int:
    """Check that nothing in the file is compressed; return the size of its pickle."""
    try:
        with os.fdopen(open_regular(path), "rb") as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            size_bytes = os.fstat(file.fileno()).st_size
    except (zipfile.BadZipFile, NotImplementedError, ValueError, IndexError) as error:
        raise ValueError(f"it is not a file of torch.save ({error})") from None
    for entry in entries:
        if not _ENTRY.fullmatch(entry.filename) or entry.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"it has the entry {entry.filename[:60]!r}, which torch.save has not")
    if sum(entry.file_size for entry in entries) > size_bytes:
        raise ValueError("its entries are larger than the file")
    pickles = [entry.file_size for entry in entries if entry.filename.endswith("/data.pkl")]
    if len(pickles) != 1 or pickles[0] > _PICKLE_BYTES:
        raise ValueError(f"it has no pickle of at most {_PICKLE_BYTES:,} bytes")
    return pickles[0]


class _Copy:
    """Copies what was loaded out of the mapped file, within limits."""

    def __init__(self, file_bytes: int, pickle_bytes: int) -> None:
        """Set the limits.

        Args:
            file_bytes: size of the file. Parts of the state may share tensors, but not many.
            pickle_bytes: size of its pickle, in which every value takes a byte.
        """
        self._tensor_bytes = 8 * file_bytes
        self._values = pickle_bytes

    def of(self, value: Any, depth: int) -> Any:
        """Return a copy of a value at this depth; ValueError if it is not plain or too large."""
        self._values -= 1
        if self._values < 0 or depth > _DEEPEST:
            raise ValueError("its values contain themselves or are nested too deeply")
        kind = type(value)
        if kind is Tensor:
            return self._tensor(value)
        if kind in (list, tuple):
            return kind(self.of(item, depth + 1) for item in value)
        if kind in (dict, OrderedDict):
            return kind((self._key(k), self.of(v, depth + 1)) for k, v in value.items())
        if kind not in _PLAIN or (kind is int and abs(value) > _LARGEST):
            raise ValueError(f"it holds a {kind.__name__} that no checkpoint has")
        return value

    def _tensor(self, tensor: Tensor) -> Tensor:
        size_bytes = tensor.numel() * tensor.element_size()
        self._tensor_bytes -= size_bytes
        plain = tensor.device.type == "cpu" and tensor.layout is torch.strided
        if not plain or size_bytes > tensor.untyped_storage().nbytes() or self._tensor_bytes < 0:
            raise ValueError("it holds a tensor that is larger than the file")
        return tensor.detach().clone()

    def _key(self, key: Any) -> Any:
        if type(key) not in _PLAIN:
            raise ValueError(f"it has a key that is a {type(key).__name__}")
        return key
