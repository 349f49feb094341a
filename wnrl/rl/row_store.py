"""A store of rows that checkpoints can write piece by piece: what a replay shows of itself."""

from typing import BinaryIO, Protocol


class RowStore(Protocol):
    """Rows numbered from 0 at the run's start, each written once."""

    @property
    def total_rows(self) -> int:
        """How many rows were ever added."""
        ...

    @property
    def oldest_row(self) -> int:
        """The number of the oldest row still held."""
        ...

    def write_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Write rows [start, stop) to an open file."""
        ...

    def read_rows(self, file: BinaryIO, start: int, stop: int) -> None:
        """Take back what `write_rows` wrote for [start, stop); skip rows before `oldest_row`."""
        ...
