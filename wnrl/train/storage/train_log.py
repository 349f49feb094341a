"""The end of train.log, which holds the output of a run that a comparison started."""

import os
from pathlib import Path
from typing import BinaryIO

from wnrl.train.foreign_text import visible
from wnrl.train.untrusted.files import open_regular

TRAIN_LOG = "train.log"  # not part of the run: a run that is overwritten keeps it
_TAIL_BYTES = 65_536


def open_log(path: Path) -> BinaryIO:
    """Open the file to append to it, never through a link.

    Raises:
        OSError: it cannot be opened, or is something else than a file.
    """
    return os.fdopen(open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab")


def tail(path: Path, from_byte: int = 0) -> str:
    """Return the end of a text file, from a whole line on; empty if it cannot be read."""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            size_bytes = file.seek(0, 2)
            begin = max(from_byte, size_bytes - _TAIL_BYTES)
            file.seek(begin)
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return text if begin == from_byte else text.partition("\n")[2]


def last_line(path: Path, from_byte: int = 0) -> str:
    """Return the last line that is not empty, without control characters."""
    lines = [line.strip() for line in tail(path, from_byte).splitlines() if line.strip()]
    return visible(lines[-1]) if lines else ""
