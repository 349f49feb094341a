"""Standard output and error that outlast their reader: `| head -1`, a closed terminal, `>&-`.

A command that loses its reader goes on without printing, so a training run keeps its checkpoints.
One that was to print a result asks `all_printed` at its end.
"""

import errno
import io
import os
import sys
from typing import TextIO

from wnrl.train.process.stop_signals import write_line

_NO_READER = (errno.EPIPE, errno.EIO)  # a pipe's, a terminal's


class _LastingText(io.TextIOWrapper):
    """A text stream that writes to nowhere once it cannot write."""

    refused = False  # it could not write although it has a reader: its disk is full

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._turn_to_nowhere(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._turn_to_nowhere(error)
            super().flush()  # what is buffered

    def _turn_to_nowhere(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if error.errno not in _NO_READER:
            self.refused = True
            write_line(f"wnrl: no more output is printed: {error.strerror}")


def keep_output() -> None:
    """Make stdout and stderr of this process lasting, and open those that are closed.

    A closed descriptor would go to the next file that is opened, a table of the run for example,
    and messages would be written into it. Characters that the output cannot show are escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest one that is closed
    sys.stdout, sys.stderr = _lasting(sys.stdout, 1), _lasting(sys.stderr, 2)


def all_printed() -> bool:
    """Return whether stdout took everything so far, or lost its reader."""
    sys.stdout.flush()
    return not getattr(sys.stdout, "refused", False)


def _lasting(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a lasting stream in place of one, which may be missing."""
    encoding = "utf-8" if stream is None else stream.encoding
    if stream is not None:
        stream.flush()
    return _LastingText(
        os.fdopen(descriptor, "wb", closefd=False),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=descriptor == 2 or os.isatty(descriptor),
    )
