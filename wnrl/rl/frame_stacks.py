"""Stacked observations, gathered from single frames.

Dimension key: B batch, N environments, R rows, S frames of a stack.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from wnrl.rl.row_store import Indices, Rows


def gather_stacks(ring: Rows, rows: Indices, envs: Indices, stack: int, out: Tensor) -> None:
    """Write the observations of (row, environment) pairs into a tensor.

    Frames from before the episode's first are zeros, as in the emulator's own stack.

    Args:
        ring: the fields (R, N, ...), where row k is at slot k mod R.
        rows: (B,) row numbers, whose whole stacks the ring holds.
        envs: (B,) environments.
        stack: S.
        out: (B, S, *frame), oldest frame first, or (B, *frame) where S is 1; contiguous, on the
            CPU, of the frames' dtype.
    """
    capacity_rows, num_envs = ring.first.shape
    ages = np.arange(stack - 1, -1, -1)
    slots = (rows[:, None] - ages) % capacity_rows  # (B,) -> (B, S), oldest frame first
    frames = out.view(slots.size, -1).numpy()  # shares memory with out
    positions = (slots * num_envs + envs[:, None]).reshape(-1)
    all_frames = ring.frame.reshape(capacity_rows * num_envs, -1)  # (R * N, pixels), a view
    # mode="raise" would copy `out` into a buffer first; the slots are in range.
    np.take(all_frames, positions, axis=0, out=frames, mode="clip")
    if stack == 1:
        return
    # A frame belongs to an earlier episode if a newer frame of the stack is a first.
    newer_first = ring.first[slots[:, :0:-1], envs[:, None]]  # (B, S - 1), newest first
    foreign = np.logical_or.accumulate(newer_first, axis=1)[:, ::-1]  # frames 0 to S - 2
    batch_index, frame_index = np.nonzero(foreign)
    frames[batch_index * stack + frame_index] = 0


def whole_stacks(
    ring: Rows, rows: Indices, envs: Indices, stack: int, oldest_row: int
) -> npt.NDArray[np.bool_]:
    """Return (B,) whether the ring still holds every frame of these pairs' stacks.

    A stack is also whole if it reaches back to its episode's first row: older frames are zeros.

    Args:
        ring: the fields (R, N, ...), where row k is at slot k mod R.
        rows: (B,) row numbers that the ring holds.
        envs: (B,) environments.
        stack: S.
        oldest_row: number of the oldest row that the ring holds.
    """
    capacity_rows = len(ring.first)
    whole: npt.NDArray[np.bool_] = rows - (stack - 1) >= oldest_row
    for age in range(stack - 1):
        begins = ring.first[(rows - age) % capacity_rows, envs]
        whole |= begins & (rows - age >= oldest_row)
    return whole
