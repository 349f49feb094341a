"""The rollout of an on-policy learner: T rows of N environments, refilled after each update.

It stores rows and cuts them into minibatches. Returns are in `wnrl.rl.returns`. Termination,
truncation and lost lives have become discounts before they arrive here.

Dimension key: T steps, N environments, B rows of a minibatch.

Row k of one environment is (obs_k, first_k, action_k, reward_{k+1}, discount_{k+1}, valid_k): the
observation acted on, whether it is its episode's first, the action sent on it, the reward and
discount that it brought, and whether the emulator used the action. The emulator ignores the action
sent on a final observation. Such a row is in no loss and no mean, its value is the bootstrap of the
row before, and the next row begins an episode.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wnrl.rl.frame_stacks import put
from wnrl.rl.row_store import require_order

# In saved rollouts; changing it would make old checkpoints unreadable.
EXTRAS_PREFIX = "kept."

OBS = "obs"

RowField = npt.NDArray[Any] | Tensor  # one row of a field, (N, ...), on any device


class RolloutBatch(NamedTuple):
    """A rollout (T, N, ...), some of its environments, or a flat selection of its rows (B, ...)."""

    obs: Tensor  # (T, N, *shape) uint8 or float32
    first: Tensor  # (T, N) bool
    action: Tensor  # (T, N) int64
    reward: Tensor  # (T, N) float32; 0 where not valid
    discount: Tensor  # (T, N) float32; 0 where not valid
    valid: Tensor  # (T, N) bool
    extras: dict[str, Tensor]  # each (T, N) float32: what the agent recorded when it acted

    def flat(self) -> "RolloutBatch":
        """Return all rows in one dimension (T * N, ...), row k of environment n at k * N + n.

        Raises:
            ValueError: if the batch is flat already.
        """
        self._require_dimensions(2)
        return self._each(lambda x: x.flatten(0, 1))  # (T, N, ...) -> (T * N, ...)

    def take(self, index: Tensor) -> "RolloutBatch":
        """Return a copy of rows (B, ...) of a flat batch.

        Args:
            index: (B,) int64, on any device.

        Raises:
            ValueError: if the batch is not flat.
        """
        self._require_dimensions(1)
        index = index.to(self.valid.device)
        return self._each(lambda x: x.index_select(0, index))

    def envs(self, index: Tensor) -> "RolloutBatch":
        """Return a copy of the whole rollout (T, n, ...) of some environments.

        Args:
            index: (n,) int64, on any device.

        Raises:
            ValueError: if the batch is flat.
        """
        self._require_dimensions(2)
        index = index.to(self.valid.device)
        return self._each(lambda x: x.index_select(1, index))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RolloutBatch":
        extras = {name: change(x) for name, x in self.extras.items()}
        return RolloutBatch._make([*map(change, self[:-1]), extras])

    def _require_dimensions(self, ndim: int) -> None:
        if self.valid.ndim != ndim:
            leading = {1: "flat, (B, ...)", 2: "(T, N, ...)"}[ndim]
            raise ValueError(f"the batch must be {leading}: its rows are {tuple(self.valid.shape)}")


class Rollout:
    """T rows of N environments in memory that is allocated once and refilled.

    Observations are in the memory of the device that learns, everything else in the CPU's.

    Args:
        steps: T.
        num_envs: N.
        shape: shape of one environment's observation.
        dtype: dtype of observations, "uint8" or "float32"; they are stored unchanged.
        extras: names of numbers (N,) that the agent records when it acts, such as its value.
        stack: frames along the first axis of an observation; 1 if nothing is stacked.
        device: device of the observations.

    Raises:
        ValueError: if a number is below 1 or the dtype is neither of the two.
    """

    def __init__(
        self,
        steps: int,
        num_envs: int,
        shape: tuple[int, ...],
        dtype: str,
        extras: tuple[str, ...] = ("value",),
        *,
        stack: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        if min(steps, num_envs, *shape) < 1:
            raise ValueError(
                f"steps, num_envs and shape must be at least 1, not {steps}, {num_envs} and {shape}"
            )
        self.steps = steps
        self.num_envs = num_envs
        self.stack = stack
        self.filled_rows = 0
        self._fields = {
            name: torch.empty(
                (steps, num_envs, *tail), dtype=kind, device=device if name == OBS else "cpu"
            ).zero_()
            for name, (kind, tail) in _field_types(shape, dtype, extras).items()
        }
        self._arrays = {  # the same memory
            name: field.numpy() for name, field in self._fields.items() if name != OBS
        }
        self._extras = extras

    @staticmethod
    def bytes_needed(
        steps: int,
        num_envs: int,
        shape: tuple[int, ...],
        dtype: str,
        extras: tuple[str, ...] = ("value",),
    ) -> int:
        """Return the exact bytes of a rollout; the arguments are the constructor's."""
        types = _field_types(shape, dtype, extras).values()
        return steps * num_envs * sum(kind.itemsize * math.prod(tail) for kind, tail in types)

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return sum(field.nbytes for field in self._fields.values())

    @property
    def full(self) -> bool:
        """Return whether all T rows are filled."""
        return self.filled_rows == self.steps

    def clear(self) -> None:
        """Start over in the same memory; batches that view it will change."""
        self.filled_rows = 0

    def add(
        self,
        obs: RowField,
        first: RowField,
        action: RowField,
        reward: RowField,
        discount: RowField,
        valid: RowField,
        **extras: RowField,
    ) -> None:
        """Store one row; reward and discount become 0 where it is not valid.

        Args:
            obs: (N, *shape) the observations acted on.
            first: (N,) bool, whether each is its episode's first.
            action: (N,) integers, the actions sent on them.
            reward: (N,) the rewards that followed, clipped if the learner clips.
            discount: (N,) 0 at termination and lost lives, gamma otherwise, truncation included.
            valid: (N,) bool, False at a final observation, whose action was not used.
            **extras: (N,) each of the names in `extras`.

        Raises:
            ValueError: if the rollout is full, if a shape or the names in `extras` differ from the
                above, or if an episode does not begin exactly after a row that is not valid.
            TypeError: if a dtype does not fit.
        """
        if self.full:
            raise ValueError(
                f"the rollout is full with {self.steps} rows: learn from it and clear it first"
            )
        if extras.keys() != set(self._extras):
            raise ValueError(f"extras must be {sorted(self._extras)}, not {sorted(extras)}")
        row = {
            OBS: obs,
            "first": first,
            "action": action,
            "reward": reward,
            "discount": discount,
            "valid": valid,
            **{EXTRAS_PREFIX + name: value for name, value in extras.items()},
        }
        for name, value in row.items():
            self._write(name, value)
        if self.filled_rows > 0:
            require_order(
                self._arrays["first"][self.filled_rows],
                self._arrays["valid"][self.filled_rows - 1],
                self.filled_rows,
            )
        unused = ~self._arrays["valid"][self.filled_rows]
        for name in ("reward", "discount"):
            self._arrays[name][self.filled_rows, unused] = 0.0
        self.filled_rows += 1

    def to(self, device: torch.device | str) -> RolloutBatch:
        """Return all rows on a device: a copy of each field, or a view if it is there already.

        Raises:
            ValueError: if the rollout is not full.
        """
        if not self.full:
            raise ValueError(f"the rollout has {self.filled_rows} of its {self.steps} rows")
        # Waits for the copies: the next row may be written into the CPU's memory right away.
        moved = {name: field.to(device) for name, field in self._fields.items()}
        extras = {name: moved.pop(EXTRAS_PREFIX + name) for name in self._extras}
        return RolloutBatch(**moved, extras=extras)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the rows so far."""
        return {
            "steps": self.steps,
            "fields": {name: x[: self.filled_rows].clone() for name, x in self._fields.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the rows of a state.

        Raises:
            ValueError: if the state is of a rollout of other steps, shapes, dtypes or extras.
        """
        fields: Mapping[str, Tensor] = state["fields"]
        rows = len(fields["valid"])
        loaded = {name: (x.dtype, tuple(x.shape)) for name, x in fields.items()}
        expected = {name: (x.dtype, (rows, *x.shape[1:])) for name, x in self._fields.items()}
        if state["steps"] != self.steps or loaded != expected:
            raise ValueError(
                f"the state is of a rollout of {state['steps']} steps with {loaded}, "
                f"this one has {self.steps} with {expected}"
            )
        for name, field in fields.items():
            self._fields[name][:rows].copy_(field)
        self.filled_rows = rows

    def _write(self, name: str, value: RowField) -> None:
        """Copy one field into the next row, after checking its shape and dtype."""
        field, shape = self._fields[name], tuple(value.shape)
        if shape != field.shape[1:]:
            raise ValueError(f"{name} must be {tuple(field.shape[1:])}, not {shape}")
        kind = str(field.dtype).removeprefix("torch.")  # NumPy's name
        if name == OBS:
            fits = str(value.dtype).removeprefix("torch.") == kind
        elif isinstance(value, Tensor):
            fits = torch.can_cast(value.dtype, field.dtype)
        else:
            fits = np.can_cast(value.dtype, kind, "same_kind")
        if not fits:
            raise TypeError(f"{name} must be {field.dtype}, not {value.dtype}")
        if isinstance(value, Tensor):
            field[self.filled_rows].copy_(value)
        elif name in self._arrays:
            self._arrays[name][self.filled_rows] = value
        else:
            put(np.ascontiguousarray(value), field[self.filled_rows])


def shuffled(
    count: int,
    parts: int,
    generator: np.random.Generator,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Shuffle range(count) and split it into parts of one size.

    Args:
        count: number of numbers to shuffle.
        parts: number of minibatches, a divisor of `count`.
        generator: draws one permutation.
        device: device of the result.

    Returns:
        (parts, B) int64.

    Raises:
        ValueError: if `parts` does not divide `count`.
    """
    if not 1 <= parts <= count or count % parts:
        raise ValueError(f"parts must divide {count}, and {parts} does not")
    return torch.from_numpy(generator.permutation(count)).to(device).view(parts, -1)


def _field_types(
    shape: tuple[int, ...], dtype: str, extras: tuple[str, ...]
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """The dtype and the shape within one row and environment of each field."""
    kinds = {"uint8": torch.uint8, "float32": torch.float32}
    if dtype not in kinds:
        raise ValueError(f"dtype must be 'uint8' or 'float32', not {dtype!r}")
    return {
        OBS: (kinds[dtype], shape),
        "first": (torch.bool, ()),
        "action": (torch.int64, ()),
        "reward": (torch.float32, ()),
        "discount": (torch.float32, ()),
        "valid": (torch.bool, ()),
        **{EXTRAS_PREFIX + name: (torch.float32, ()) for name in extras},
    }
