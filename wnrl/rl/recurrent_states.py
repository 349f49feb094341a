"""Recurrent states recorded while acting, one before every few rows of a replay.

Source: Kapturowski et al. 2019 (R2D2, ICLR 2019), section 3: the stored state strategy.

Dimension key: B batch, N environments, H units of the recurrent layer.
"""

import math
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl.rl import npy_rows

State = tuple[Tensor, Tensor]  # h and c, each (1, B, H)


class StoredStates:
    """A ring of h and c before each row whose number is a multiple of `period_steps`.

    It holds the states of the newest `capacity_rows` rows.

    Args:
        capacity_rows: consecutive rows whose states are held.
        num_envs: N.
        lstm_units: H.
        period_steps: rows from one stored state to the next.
    """

    def __init__(
        self, capacity_rows: int, num_envs: int, lstm_units: int, period_steps: int
    ) -> None:
        self.period_steps = period_steps
        shape = _shape(capacity_rows, num_envs, lstm_units, period_steps)
        self._rings = [np.empty(shape, np.float32) for _ in ("h", "c")]
        for ring in self._rings:
            ring.fill(0.0)  # touches every page, so missing memory fails now and not in hours

    @staticmethod
    def bytes_needed(capacity_rows: int, num_envs: int, lstm_units: int, period_steps: int) -> int:
        """Return the exact bytes of a ring with these arguments."""
        shape = _shape(capacity_rows, num_envs, lstm_units, period_steps)
        return 2 * math.prod(shape) * np.dtype(np.float32).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return sum(ring.nbytes for ring in self._rings)

    def check(self, state: State) -> None:
        """Raise ValueError unless h and c are (1, N, H)."""
        expected = (1, *self._rings[0].shape[1:])
        if any(tuple(part.shape) != expected for part in state):
            raise ValueError(f"h and c must be {expected}, not {[tuple(x.shape) for x in state]}")

    def add(self, row: int, state: State) -> None:
        """Store h and c (1, N, H), from any device, if `row` is a multiple of `period_steps`."""
        if row % self.period_steps == 0:
            for ring, part in zip(self._rings, state, strict=True):
                ring[self._slot(row)] = part[0].detach().cpu().numpy()

    def before(
        self,
        rows: npt.NDArray[np.int64],
        envs: npt.NDArray[np.int64],
        known: npt.NDArray[np.bool_],
    ) -> State:
        """Return h and c (1, B, H), the states before rows.

        Args:
            rows: (B,) row numbers.
            envs: (B,) environments.
            known: (B,) whether that state is stored; elsewhere it is zero.
        """
        slots = np.where(known, self._slot(rows), 0)
        h, c = (
            torch.from_numpy(np.where(known[:, None], ring[slots, envs], np.float32(0)))[None]
            for ring in self._rings
        )
        return h, c

    def write(self, file: BinaryIO, start: int, stop: int) -> None:
        """Stream the states of rows [start, stop), which must be held, as two .npy arrays."""
        rows = self._stored_rows(start, stop)
        for ring in self._rings:
            npy_rows.write_header(file, npy_rows.header_of(ring, len(rows)))
            for row in rows:
                npy_rows.write_array(file, ring[self._slot(row)])

    def read(self, file: BinaryIO, start: int, stop: int, oldest_row: int) -> None:
        """Restore what `write` wrote; skip states of rows before `oldest_row`.

        Raises:
            ValueError: if the file does not hold exactly these states.
        """
        rows = self._stored_rows(start, stop)
        for ring in self._rings:
            npy_rows.read_header(file, npy_rows.header_of(ring, len(rows)))
            for row in rows:
                if row < oldest_row:
                    npy_rows.skip(file, ring[0].nbytes)
                else:
                    npy_rows.read_array(file, ring[self._slot(row)])

    def _stored_rows(self, start: int, stop: int) -> range:
        """Return the rows in [start, stop) whose states are stored."""
        return range(-(-start // self.period_steps) * self.period_steps, stop, self.period_steps)

    def _slot(self, row: Any) -> Any:
        return row // self.period_steps % len(self._rings[0])


def _shape(
    capacity_rows: int, num_envs: int, lstm_units: int, period_steps: int
) -> tuple[int, int, int]:
    """Return the shape of one ring: the most states that `capacity_rows` consecutive rows have."""
    return -(-capacity_rows // period_steps), num_envs, lstm_units
