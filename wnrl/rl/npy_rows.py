"""Rows of arrays to and from an open file, in NumPy's .npy format, without a copy of the whole.

Several arrays may follow one another in a file; `numpy.load` reads them one by one.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

CHUNK_BYTES = 1 << 22  # large enough for the disk's full speed, small beside any ring


def header_of(field: npt.NDArray[Any], rows: int) -> dict[str, Any]:
    """What the format says about `rows` rows of a field."""
    return {
        "descr": np.lib.format.dtype_to_descr(field.dtype),
        "fortran_order": False,
        "shape": (rows, *field.shape[1:]),
    }


def write_header(file: BinaryIO, header: dict[str, Any]) -> None:
    """Begin an array."""
    np.lib.format.write_array_header_1_0(file, header)


def read_header(file: BinaryIO, expected: dict[str, Any]) -> None:
    """Go past an array's header; ValueError if it is another one."""
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    found = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran_order,
        "shape": shape,
    }
    if found != expected:
        raise ValueError(f"the file holds {found}, expected {expected}")


def write_array(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """The numbers of a contiguous array."""
    data = array.data.cast("B")
    for at in range(0, len(data), CHUNK_BYTES):
        file.write(data[at : at + CHUNK_BYTES])


def read_array(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Fill a contiguous array with the next numbers; ValueError if the file ends before."""
    data = array.data.cast("B")
    at = 0
    for chunk in _chunks(file, len(data)):
        data[at : at + len(chunk)] = chunk
        at += len(chunk)


def skip(file: BinaryIO, nbytes: int) -> None:
    """Go past the next bytes; ValueError if the file ends before."""
    for _ in _chunks(file, nbytes):
        pass


def _chunks(file: BinaryIO, nbytes: int) -> Iterator[bytes]:
    while nbytes > 0:
        chunk = file.read(min(nbytes, CHUNK_BYTES))
        if not chunk:
            raise ValueError(f"the file ends {nbytes} bytes too early")
        nbytes -= len(chunk)
        yield chunk
