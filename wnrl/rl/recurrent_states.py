"""The recurrent states that acting passed through, one before every few rows of a replay.

Source: Kapturowski et al. 2019 (R2D2, ICLR 2019), section 3: the stored state strategy.

Dimension key: B batch, N environments, H units of the recurrent layer.
"""

import math
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl.rl import npy_rows as npy

State = tuple[Tensor, Tensor]  # h and c, each (1, B, H)


class StoredStates:
    """h and c before each row whose number is a multiple of `period_steps`, in a ring.

    Whatever `capacity_rows` rows in a line are held, so are their states.
    """

    def __init__(
        self, capacity_rows: int, num_envs: int, lstm_units: int, period_steps: int
    ) -> None:
        self.period_steps = period_steps
        shape = _shape(capacity_rows, num_envs, lstm_units, period_steps)
        self._rings = [np.empty(shape, np.float32) for _ in ("h", "c")]
        for ring in self._rings:
            ring.fill(0.0)  # touches every page: memory that is missing is missed now

    @staticmethod
    def bytes_needed(capacity_rows: int, num_envs: int, lstm_units: int, period_steps: int) -> int:
        """Bytes that they will take, exactly."""
        shape = _shape(capacity_rows, num_envs, lstm_units, period_steps)
        return 2 * math.prod(shape) * np.dtype(np.float32).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return sum(ring.nbytes for ring in self._rings)

    def check(self, state: State) -> None:
        """ValueError unless h and c are (1, N, H)."""
        expected = (1, *self._rings[0].shape[1:])
        if any(tuple(part.shape) != expected for part in state):
            raise ValueError(f"h and c must be {expected}, not {[tuple(x.shape) for x in state]}")

    def add(self, row: int, state: State) -> None:
        """Keep h and c (1, N, H), from any device, if this is a row whose state is kept."""
        if row % self.period_steps == 0:
            for ring, part in zip(self._rings, state, strict=True):
                ring[self._slot(row)] = part[0].detach().cpu().numpy()

    def before(
        self,
        rows: npt.NDArray[np.int64],
        envs: npt.NDArray[np.int64],
        known: npt.NDArray[np.bool_],
    ) -> State:
        """h and c (1, B, H) before rows (B,) of environments (B,), zeros where not `known` (B,)."""
        slots = np.where(known, self._slot(rows), 0)
        h, c = (
            torch.from_numpy(np.where(known[:, None], ring[slots, envs], np.float32(0)))[None]
            for ring in self._rings
        )
        return h, c

    def write(self, file: BinaryIO, start: int, stop: int) -> None:
        """Stream those of rows [start, stop), which are all held, as two .npy arrays."""
        rows = self._kept(start, stop)
        for ring in self._rings:
            npy.write_header(file, npy.header_of(ring, len(rows)))
            for row in rows:
                npy.write_array(file, ring[self._slot(row)])

    def read(self, file: BinaryIO, start: int, stop: int, oldest_row: int) -> None:
        """Take back what `write` wrote; skip those of rows before `oldest_row`.

        Raises:
            ValueError: the file does not hold exactly these states.
        """
        rows = self._kept(start, stop)
        for ring in self._rings:
            npy.read_header(file, npy.header_of(ring, len(rows)))
            for row in rows:
                if row < oldest_row:
                    npy.skip(file, ring[0].nbytes)
                else:
                    npy.read_array(file, ring[self._slot(row)])

    def _kept(self, start: int, stop: int) -> range:
        """The rows in [start, stop) whose states are kept."""
        return range(-(-start // self.period_steps) * self.period_steps, stop, self.period_steps)

    def _slot(self, row: Any) -> Any:
        return row // self.period_steps % len(self._rings[0])


def _shape(
    capacity_rows: int, num_envs: int, lstm_units: int, period_steps: int
) -> tuple[int, int, int]:
    """Of one ring: as many states as `capacity_rows` rows in a line can have."""
    return -(-capacity_rows // period_steps), num_envs, lstm_units
