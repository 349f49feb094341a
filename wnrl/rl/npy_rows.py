"""Read and write rows of arrays in NumPy's .npy format, without a copy of the whole.

Several arrays may follow one another in a file; `numpy.load` reads them one by one.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

CHUNK_BYTES = 1 << 22  # large enough for the disk's full speed, small compared with any ring


def header_of(field: npt.NDArray[Any], rows: int) -> dict[str, Any]:
    """Return the header that describes `rows` rows of a field."""
    return {
        "descr": np.lib.format.dtype_to_descr(field.dtype),
        "fortran_order": False,
        "shape": (rows, *field.shape[1:]),
    }


def write_header(file: BinaryIO, header: dict[str, Any]) -> None:
    """Write an array's header; its numbers must follow."""
    np.lib.format.write_array_header_1_0(file, header)


def read_header(file: BinaryIO, expected: dict[str, Any]) -> None:
    """Read an array's header; raise ValueError if it differs from the expected one."""
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": fortran_order,
        "shape": shape,
    }
    if header != expected:
        raise ValueError(f"the file holds {header}, expected {expected}")


def write_array(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Write the numbers of a contiguous array."""
    data = array.data.cast("B")
    for start in range(0, len(data), CHUNK_BYTES):
        file.write(data[start : start + CHUNK_BYTES])


def read_array(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Fill a contiguous array with the next numbers; raise ValueError if the file is too short."""
    data = array.data.cast("B")
    start = 0
    for chunk in _chunks(file, len(data)):
        data[start : start + len(chunk)] = chunk
        start += len(chunk)


def skip(file: BinaryIO, nbytes: int) -> None:
    """Skip the next bytes; raise ValueError if the file is too short."""
    for _ in _chunks(file, nbytes):
        pass


def _chunks(file: BinaryIO, nbytes: int) -> Iterator[bytes]:
    while nbytes > 0:
        chunk = file.read(min(nbytes, CHUNK_BYTES))
        if not chunk:
            raise ValueError(f"the file ends {nbytes} bytes too early")
        nbytes -= len(chunk)
        yield chunk
