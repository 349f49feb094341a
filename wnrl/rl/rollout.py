"""What an on-policy learner saw: the newest T rows of N environments, refilled after each update.

For storing rows and cutting them into minibatches. Not for returns (`wnrl.rl.returns`), and not for
deciding what a discount is: termination, truncation and lost lives arrive here as discounts.

Dimension key: T steps, N environments, B rows of a minibatch.

Row k of one environment is (obs_k, first_k, action_k, reward_{k+1}, discount_{k+1}, valid_k): the
observation acted on, whether it is its episode's first, what was sent on it and what that brought,
and whether the emulator used the action. It did not where obs_k is a final observation: that row is
in no loss and no mean, its value is the bootstrap of the row before, and the next row is a first.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rowlike = npt.NDArray[Any] | Tensor  # one row of a field, (N, ...), on any device


class RolloutBatch(NamedTuple):
    """A rollout (T, N, ...), some of its environments, or rows of it laid flat (B, ...)."""

    obs: Tensor  # (T, N, *shape) uint8 or float32
    first: Tensor  # (T, N) bool
    action: Tensor  # (T, N) int64
    reward: Tensor  # (T, N) float32; 0 where not valid
    discount: Tensor  # (T, N) float32; 0 where not valid
    valid: Tensor  # (T, N) bool
    kept: dict[str, Tensor]  # each (T, N) float32: what the agent noted when it acted

    def flat(self) -> "RolloutBatch":
        """All rows in one dimension, (T * N, ...): row k of environment n is number k * N + n.

        Raises:
            ValueError: if it is flat already.
        """
        self._require_dimensions(2)
        return self._each(lambda x: x.flatten(0, 1))  # (T, N, ...) -> (T * N, ...)

    def take(self, index: Tensor) -> "RolloutBatch":
        """Rows (B, ...) of a flat batch, copied.

        Args:
            index: (B,) int64, on any device.

        Raises:
            ValueError: if it is not flat.
        """
        self._require_dimensions(1)
        index = index.to(self.valid.device)
        return self._each(lambda x: x.index_select(0, index))

    def envs(self, index: Tensor) -> "RolloutBatch":
        """The whole rollout (T, n, ...) of some environments, copied.

        Args:
            index: (n,) int64, on any device.

        Raises:
            ValueError: if it is flat.
        """
        self._require_dimensions(2)
        index = index.to(self.valid.device)
        return self._each(lambda x: x.index_select(1, index))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "RolloutBatch":
        kept = {name: change(x) for name, x in self.kept.items()}
        return RolloutBatch._make([*map(change, self[:-1]), kept])

    def _require_dimensions(self, ndim: int) -> None:
        if self.valid.ndim != ndim:
            leading = {1: "flat, (B, ...)", 2: "(T, N, ...)"}[ndim]
            raise ValueError(f"the batch must be {leading}: its rows are {tuple(self.valid.shape)}")


class Rollout:
    """T rows of N environments in CPU memory that is taken once and filled again and again.

    Args:
        steps: T.
        num_envs: N.
        shape: of one environment's observation.
        dtype: of observations, "uint8" or "float32"; they are stored as they come.
        kept: names of numbers (N,) that the agent notes when it acts, such as its value.
        pin_memory: whether a GPU shall be able to copy without a detour.

    Raises:
        ValueError: if a number is below 1 or the dtype is neither of the two.
    """

    def __init__(
        self,
        steps: int,
        num_envs: int,
        shape: tuple[int, ...],
        dtype: str,
        kept: tuple[str, ...] = ("value",),
        *,
        pin_memory: bool = False,
    ) -> None:
        if min(steps, num_envs, *shape) < 1:
            raise ValueError(
                f"steps, num_envs and shape must be at least 1, not {steps}, {num_envs} and {shape}"
            )
        self.steps = steps
        self.num_envs = num_envs
        self.filled_rows = 0
        self._fields = {
            name: torch.empty((steps, num_envs, *tail), dtype=kind, pin_memory=pin_memory).zero_()
            for name, (kind, tail) in _field_types(shape, dtype, kept).items()
        }
        self._arrays = {name: field.numpy() for name, field in self._fields.items()}  # same memory
        self._kept = kept

    @staticmethod
    def bytes_needed(
        steps: int,
        num_envs: int,
        shape: tuple[int, ...],
        dtype: str,
        kept: tuple[str, ...] = ("value",),
    ) -> int:
        """Bytes of a rollout with these arguments, all of them taken at construction."""
        types = _field_types(shape, dtype, kept).values()
        return steps * num_envs * sum(kind.itemsize * math.prod(tail) for kind, tail in types)

    @property
    def nbytes(self) -> int:
        """Bytes held, all of them since construction."""
        return sum(field.nbytes for field in self._fields.values())

    @property
    def full(self) -> bool:
        """Whether all T rows are there."""
        return self.filled_rows == self.steps

    def clear(self) -> None:
        """Begin anew, in the same memory: batches on the CPU that were taken from it change."""
        self.filled_rows = 0

    def add(
        self,
        obs: Rowlike,
        first: Rowlike,
        action: Rowlike,
        reward: Rowlike,
        discount: Rowlike,
        valid: Rowlike,
        **kept: Rowlike,
    ) -> None:
        """Store one row; reward and discount become 0 where it is not valid.

        Args:
            obs: (N, *shape) what was acted on.
            first: (N,) bool, whether that is its episode's first.
            action: (N,) integers, what was sent on it.
            reward: (N,) what came, as the learner shall see it (clipped where it clips).
            discount: (N,) 0 at termination and lost lives, gamma otherwise, truncation included.
            valid: (N,) bool, False where obs is a final observation, whose action was not used.
            **kept: (N,) each of the names in `kept`.

        Raises:
            ValueError: if it is full, a shape is not the above, other names are kept, or an episode
                begins anywhere but right after a row that is not valid.
            TypeError: if a dtype does not fit.
        """
        if self.full:
            raise ValueError(
                f"the rollout is full with {self.steps} rows: learn from it and clear it first"
            )
        if kept.keys() != set(self._kept):
            raise ValueError(f"kept must be {sorted(self._kept)}, not {sorted(kept)}")
        row = {
            "obs": obs,
            "first": first,
            "action": action,
            "reward": reward,
            "discount": discount,
            "valid": valid,
            **{f"kept.{name}": value for name, value in kept.items()},
        }
        for name, value in row.items():
            self._write(name, value)
        self._require_order()
        unused = ~self._arrays["valid"][self.filled_rows]
        for name in ("reward", "discount"):
            self._arrays[name][self.filled_rows, unused] = 0.0
        self.filled_rows += 1

    def to(self, device: torch.device | str) -> RolloutBatch:
        """All rows on a device: one copy of each field, and on the CPU none, but views.

        Raises:
            ValueError: if it is not full.
        """
        if not self.full:
            raise ValueError(f"the rollout has {self.filled_rows} of its {self.steps} rows")
        # Waits for the copy: the next row may be written into the same memory right away.
        moved = {name: field.to(device) for name, field in self._fields.items()}
        kept = {name: moved.pop(f"kept.{name}") for name in self._kept}
        return RolloutBatch(**moved, kept=kept)

    def state_dict(self) -> dict[str, Any]:
        """Copies of the rows so far."""
        return {
            "steps": self.steps,
            "fields": {name: x[: self.filled_rows].clone() for name, x in self._fields.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken.

        Raises:
            ValueError: if the state is of a rollout of another length, shape, dtype or kept names.
        """
        fields: Mapping[str, Tensor] = state["fields"]
        rows = len(fields["valid"])
        found = {name: (x.dtype, tuple(x.shape)) for name, x in fields.items()}
        own = {name: (x.dtype, (rows, *x.shape[1:])) for name, x in self._fields.items()}
        if state["steps"] != self.steps or found != own:
            raise ValueError(
                f"the state is of a rollout of {state['steps']} steps with {found}, "
                f"this one has {self.steps} with {own}"
            )
        for name, field in fields.items():
            self._fields[name][:rows].copy_(field)
        self.filled_rows = rows

    def _write(self, name: str, value: Rowlike) -> None:
        """Copy one field of the next row, its shape and dtype as they must be."""
        field, array = self._fields[name], self._arrays[name]
        if tuple(value.shape) != array.shape[1:]:
            raise ValueError(f"{name} must be {array.shape[1:]}, not {tuple(value.shape)}")
        if isinstance(value, Tensor):
            fits = torch.can_cast(value.dtype, field.dtype)
        else:
            fits = np.can_cast(value.dtype, array.dtype, "same_kind")
        if not fits:
            raise TypeError(f"{name} must be {field.dtype}, not {value.dtype}")
        if isinstance(value, Tensor):
            field[self.filled_rows].copy_(value)
        else:
            array[self.filled_rows] = value

    def _require_order(self) -> None:
        """ValueError unless the row being written begins episodes exactly where they ended."""
        if self.filled_rows == 0:
            return
        begins = self._arrays["first"][self.filled_rows]
        ended = ~self._arrays["valid"][self.filled_rows - 1]
        if not np.array_equal(begins, ended):
            raise ValueError(
                "an episode's first row must follow a row that is not valid, and nothing else may: "
                f"environments {np.flatnonzero(begins != ended).tolist()} at row {self.filled_rows}"
            )


def shuffled(count: int, parts: int, generator: np.random.Generator) -> Iterator[Tensor]:
    """All of range(count) in random order, in parts whose sizes differ by at most one.

    Args:
        count: how many there are.
        parts: how many minibatches, at most `count`.
        generator: draws one permutation, when the first part is asked for.

    Yields:
        (B,) int64.

    Raises:
        ValueError: if a part would be empty.
    """
    if not 1 <= parts <= count:
        raise ValueError(f"parts must lie in [1, {count}], not {parts}")
    for part in np.array_split(generator.permutation(count), parts):
        yield torch.from_numpy(part)


def _field_types(
    shape: tuple[int, ...], dtype: str, kept: tuple[str, ...]
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """The dtype and the shape within one row and environment of each field."""
    kinds = {"uint8": torch.uint8, "float32": torch.float32}
    if dtype not in kinds:
        raise ValueError(f"dtype must be 'uint8' or 'float32', not {dtype!r}")
    return {
        "obs": (kinds[dtype], shape),
        "first": (torch.bool, ()),
        "action": (torch.int64, ()),
        "reward": (torch.float32, ()),
        "discount": (torch.float32, ()),
        "valid": (torch.bool, ()),
        **{f"kept.{name}": (torch.float32, ()) for name in kept},
    }
