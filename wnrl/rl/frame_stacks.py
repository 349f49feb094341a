"""Stacked observations, gathered from single frames in the CPU's memory or on a GPU.

Dimension key: B batch, N environments, R rows, S frames of a stack.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl.rl.row_store import Indices, Rows

SPARE_BYTES = 4 * 1024**3  # of a GPU's free memory, for networks, updates and other runs

PIECE_BYTES = 32 * 1024**2  # of a restored replay, pinned at a time


class Frames(Protocol):
    """The frames of a ring, where batches are gathered from them."""

    def wrote(self, slot: int, rows: int) -> None:
        """Take over the ring's rows in slots [slot, slot + rows)."""
        ...

    def stacks(self, rows: Indices, envs: Indices, out: Tensor) -> None:
        """Write the observations of (row, environment) pairs (B,) into a tensor.

        Frames from before the episode's first are zeros, as in the emulator's own stack.

        Args:
            rows: (B,) row numbers, whose whole stacks the ring holds.
            envs: (B,) environments.
            out: (B, S, *frame), oldest frame first, or (B, *frame) where S is 1; contiguous, of
                the frames' dtype.
        """
        ...


def frames_for(ring: Rows, stack: int, device: torch.device) -> Frames:
    """Return the frames of a ring for batches on a device: a copy there, if there is room."""
    if device.type == "cpu" or not _has_room(device, ring.frame.nbytes):
        return HostFrames(ring, stack)
    try:
        return DeviceFrames(ring, stack, device)
    except torch.OutOfMemoryError:  # another run took the room meanwhile
        return HostFrames(ring, stack)


def _has_room(device: torch.device, needed_bytes: int) -> bool:
    if device.type != "cuda":
        return True
    torch.cuda.empty_cache()  # what this process has freed
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return free_bytes >= needed_bytes + SPARE_BYTES


class HostFrames:
    """The ring's own frames, in the CPU's memory."""

    def __init__(self, ring: Rows, stack: int) -> None:
        self._ring = ring
        self._stack = stack

    def wrote(self, slot: int, rows: int) -> None:
        """Do nothing: the ring has the rows already."""

    def stacks(self, rows: Indices, envs: Indices, out: Tensor) -> None:
        """Write observations; whole stacks are copied where `out` is on a GPU."""
        if out.device.type == "cpu":
            gather_stacks(self._ring, rows, envs, self._stack, out)
            return
        gathered = torch.empty(out.shape, dtype=out.dtype, pin_memory=out.is_cuda)
        gather_stacks(self._ring, rows, envs, self._stack, gathered)
        out.copy_(gathered, non_blocking=True)  # from pinned memory, as in `put`


class DeviceFrames:
    """A copy of the ring's frames on a device, to which only new frames and indices are sent."""

    def __init__(self, ring: Rows, stack: int, device: torch.device) -> None:
        self._ring = ring
        self._stack = stack
        shape = ring.frame.shape[2:]
        dtype = torch.from_numpy(ring.frame).dtype
        # One frame more than the ring has. It stays 0, for all frames from before an episode.
        self._frames = torch.zeros((ring.first.size + 1, *shape), dtype=dtype, device=device)

    def wrote(self, slot: int, rows: int) -> None:
        """Copy the ring's rows in slots [slot, slot + rows)."""
        num_envs = self._ring.first.shape[1]
        piece_rows = max(1, PIECE_BYTES // self._ring.frame[0].nbytes)
        for begin in range(slot, slot + rows, piece_rows):
            end = min(begin + piece_rows, slot + rows)
            frames = self._ring.frame[begin:end].reshape(-1, *self._frames.shape[1:])
            put(frames, self._frames[begin * num_envs : end * num_envs])

    def stacks(self, rows: Indices, envs: Indices, out: Tensor) -> None:
        """Write observations; `out` is on the device of the frames."""
        positions, foreign = stack_positions(self._ring, rows, envs, self._stack)
        positions[foreign] = len(self._frames) - 1
        index = torch.empty(positions.size, dtype=torch.int64, device=out.device)
        put(positions.reshape(-1), index)
        flat = out.view(positions.size, *self._frames.shape[1:])
        torch.index_select(self._frames, 0, index, out=flat)


class NewestStacks:
    """The newest observations on a device, to act on, and which of them begin an episode.

    A GPU gets the newest frame of each environment and takes the older ones from its own memory.
    """

    def __init__(self, stack: int, device: torch.device) -> None:
        """Begin with no observations.

        Args:
            stack: S.
            device: device of the network that acts.
        """
        self._device = device
        self._joins = stack > 1 and device.type != "cpu"
        self._held: Tensor | None = None  # the observations before; None: to be sent whole

    def advance(self, obs: npt.NDArray[Any], first: npt.NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Return both on the device; the observations follow those of the last call.

        Args:
            obs: (N, S, *frame), or (N, *frame) where S is 1.
            first: (N,) whether each is its episode's first.
        """
        newest, begins = self.peek(obs, first)
        if self._joins:
            self._held = newest
        return newest, begins

    def peek(self, obs: npt.NDArray[Any], first: npt.NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """Return the same, as if it had not been asked."""
        begins = torch.from_numpy(first).to(self._device)
        if self._held is None:
            return torch.from_numpy(obs).to(self._device), begins
        return following_stacks(self._held, obs[:, -1:], begins), begins

    def forget(self) -> None:
        """Follow nothing: the next observations have others before them."""
        self._held = None


def following_stacks(stacks: Tensor, frames: npt.NDArray[Any], first: Tensor) -> Tensor:
    """Return the observations (N, S, *frame) that follow `stacks` (N, S, *frame), on its device.

    Args:
        stacks: (N, S, *frame), oldest frame first.
        frames: (N, 1, *frame), the new frames.
        first: (N,) on that device, whether each is its episode's first, before which all frames
            are zeros.
    """
    newest = torch.empty_like(stacks[:, -1:])
    put(np.ascontiguousarray(frames), newest)
    older = stacks[:, 1:].masked_fill(first.view(-1, *[1] * (stacks.ndim - 1)), 0)
    return torch.cat((older, newest), dim=1)


def put(array: npt.NDArray[Any], out: Tensor) -> None:
    """Copy an array into a tensor of its shape and dtype, without waiting for the tensor's device.

    The array may be changed at once. From pinned memory a GPU copies while the CPU continues, and
    torch keeps that memory until the copy is done.
    """
    source = torch.from_numpy(array)
    out.copy_(source.pin_memory() if out.is_cuda else source, non_blocking=True)


def stack_positions(
    ring: Rows, rows: Indices, envs: Indices, stack: int
) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Return where the frames of observations are, and which belong to an earlier episode.

    Args:
        ring: the fields (R, N, ...), where row k is at slot k mod R.
        rows: (B,) row numbers, whose whole stacks the ring holds.
        envs: (B,) environments.
        stack: S.

    Returns:
        Positions (B, S) among R * N frames, oldest frame first, and flags (B, S).
    """
    capacity_rows, num_envs = ring.first.shape
    ages = np.arange(stack - 1, -1, -1)
    slots = (rows[:, None] - ages) % capacity_rows  # (B,) -> (B, S), oldest frame first
    # A frame belongs to an earlier episode if a newer frame of the stack is a first.
    newer_first = ring.first[slots[:, :0:-1], envs[:, None]]  # (B, S - 1), newest first
    foreign = np.zeros(slots.shape, np.bool_)
    foreign[:, :-1] = np.logical_or.accumulate(newer_first, axis=1)[:, ::-1]
    return slots * num_envs + envs[:, None], foreign


def gather_stacks(ring: Rows, rows: Indices, envs: Indices, stack: int, out: Tensor) -> None:
    """Write the observations of (row, environment) pairs into a tensor on the CPU.

    The arguments are those of `stack_positions`, and `out` is that of `Frames.stacks`.
    """
    positions, foreign = stack_positions(ring, rows, envs, stack)
    frames = out.view(positions.size, -1).numpy()  # shares memory with out
    all_frames = ring.frame.reshape(ring.first.size, -1)  # (R * N, pixels), a view
    # mode="raise" would copy `out` into a buffer first; the positions are in range.
    np.take(all_frames, positions.reshape(-1), axis=0, out=frames, mode="clip")
    frames[np.flatnonzero(foreign)] = 0


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
