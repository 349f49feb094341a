"""Rollouts of on-policy agents: collection, advantages and minibatches.

Dimension key: T steps, N environments, B rows of a minibatch.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from wnrl.agents.recurrence import Memory, each_tensor
from wnrl.agents.transition import transition_of
from wnrl.envs.vector import Flags, Observations, ObservationSpec, Step
from wnrl.nn.networks.recurrent import Recurrent
from wnrl.nn.weight_norm.lstm import State
from wnrl.rl.frame_stacks import NewestStacks
from wnrl.rl.losses import masked_mean
from wnrl.rl.returns import generalized_advantages
from wnrl.rl.rollout import Rollout, RolloutBatch, shuffled
from wnrl.rl.schedules import linear


class Collector:
    """Collects a rollout: `acted` and `observed` in turns, then `batch` when it is full.

    Attributes:
        agent_steps: actions that the emulators used since the start of the run.
        initial_state: state of the memory at the rollout's first row; None without recurrence.
    """

    def __init__(
        self,
        rollout: Rollout,
        memory: Memory,
        device: torch.device,
        gamma: float,
        *,
        clip_rewards: bool,
    ) -> None:
        """Take built things.

        Args:
            rollout: empty.
            memory: memory of the network that acts.
            device: device of that network.
            gamma: discount per step.
            clip_rewards: whether the learner sees rewards clipped to [-1, 1].
        """
        self._rollout = rollout
        self._stacks = NewestStacks(rollout.stack, device)
        self._memory = memory
        self._device = device
        self._gamma = gamma
        self._clip_rewards = clip_rewards
        self._acted_on: tuple[Tensor, Flags, dict[str, Tensor]] | None = None
        self._newest: tuple[Observations, Flags] | None = None
        self.initial_state: State | None = memory.state
        self.agent_steps = 0

    @property
    def full(self) -> bool:
        """Return whether the rollout has all its rows."""
        return self._rollout.full

    def inputs(self, obs: Observations, first: Flags) -> tuple[Tensor, Tensor]:
        """Return the observations to act on (N, ...) and first (N,), on the device."""
        return self._stacks.advance(obs, first)

    def acted(self, obs: Tensor, first: Flags, **extras: Tensor) -> None:
        """Remember the observations acted on, and by name what the agent stores with them (N,).

        Args:
            obs: (N, ...) on the device, from `inputs`, where they stay for learning.
            first: (N,).
            **extras: (N,) each.
        """
        self._acted_on = (obs, first, extras)

    def observed(self, step: Step) -> None:
        """Store the row of the observations acted on."""
        assert self._acted_on is not None, "observed comes after acted"
        obs, first, extras = self._acted_on
        transition = transition_of(step, self._gamma, clip_rewards=self._clip_rewards)
        self._rollout.add(obs, first, step.action, *transition, **extras)
        self._newest = (step.obs, step.first)
        self.agent_steps += int(transition.valid.sum())

    def following(self) -> tuple[Tensor, Tensor]:
        """Return the observations (N, ...) after the last row and first (N,), on the device."""
        assert self._newest is not None, "following comes after observed"
        return self._stacks.peek(*self._newest)

    def batch(self) -> RolloutBatch:
        """Return the rollout (T, N, ...) on the device."""
        return self._rollout.to(self._device)

    def restart(self) -> None:
        """Begin the next rollout where this one ends."""
        self._rollout.clear()
        self.initial_state = self._memory.state

    def state_dict(self) -> dict[str, Any]:
        """Return the rows so far, the memory and the counter."""
        initial = None if self.initial_state is None else list(self.initial_state)
        return {
            "rollout": self._rollout.state_dict(),
            "memory": self._memory.state_dict(),
            "began": initial,
            "agent_steps": self.agent_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken."""
        self._rollout.load_state_dict(state["rollout"])
        self._stacks.forget()
        self._memory.load_state_dict(state["memory"])
        if state["began"] is not None:
            h, c = (x.to(self._device) for x in state["began"])
            self.initial_state = (h, c)
        self.agent_steps = state["agent_steps"]


def new_rollout(
    rollout_steps: int,
    num_envs: int,
    observation: ObservationSpec,
    extras: tuple[str, ...],
    device: torch.device,
) -> Rollout:
    """Return an empty rollout (T, N) that stores the named extras, for learning on a device."""
    return Rollout(
        rollout_steps,
        num_envs,
        observation.shape,
        observation.dtype,
        extras,
        stack=observation.stack,
        device=device,
    )


def falling(start: float, falls: bool, schedule_steps: int) -> Callable[[int], float]:
    """Return agent steps -> `start`, or a line from it to 0 at the end of the schedule."""
    end = 0.0 if falls else start
    return lambda step: linear(step, start, end, schedule_steps)


def value_after(row_value: Tensor, last: Tensor) -> Tensor:
    """Return values (T, N) of what follows each row: the next row's, and `last` (N,) at the end."""
    return torch.cat((row_value[1:], last[None]))


def with_advantages(rollout: RolloutBatch, last: Tensor, gae_lambda: float) -> RolloutBatch:
    """Add `advantage` and `return` to a rollout (Schulman et al. 2016, equation 16).

    Args:
        rollout: (T, N, ...) with the values at the time of acting.
        last: (N,) values of what follows the last row.
        gae_lambda: lambda of the advantages.
    """
    value = rollout.extras["value"]
    advantage = generalized_advantages(
        rollout.reward,
        rollout.discount,
        value,
        value_after(value, last),
        rollout.valid,
        gae_lambda,
    )
    return rollout._replace(
        extras={**rollout.extras, "advantage": advantage, "return": advantage + value}
    )


def explained_variance(rollout: RolloutBatch) -> Tensor:
    """Return () 1 - Var[G - V] / Var[G] of returns G and values V at acting, as in SB3.

    NaN or -inf where all returns are equal or no row is valid.
    """
    target, value = rollout.extras["return"], rollout.extras["value"]
    return 1 - _variance(target - value, rollout.valid) / _variance(target, rollout.valid)


def _variance(x: Tensor, valid: Tensor) -> Tensor:
    return masked_mean((x - masked_mean(x, valid)).square(), valid)


class Minibatch(NamedTuple):
    """Rows to learn from, and how a network runs on them."""

    rows: RolloutBatch  # (B, ...)
    # With a memory: the same rows (T, n, ...), and the state before them.
    sequences: tuple[RolloutBatch, State] | tuple[()] = ()

    def output(self, network: nn.Module) -> Any:
        """Return the network's output (B, ...) at rows.obs."""
        if not self.sequences:
            return network(self.rows.obs)
        rows, state = self.sequences
        unrolled, _ = cast(Recurrent[Any], network).unroll(rows.obs, rows.first, state)
        return each_tensor(unrolled, lambda x: x.flatten(0, 1))  # (T, n, ...) -> (T n, ...)


class RolloutPass(NamedTuple):
    """One pass over a rollout, in minibatches of one size."""

    rollout: RolloutBatch  # (M, ...) rows, or (T, N, ...) with a memory
    indices: Tensor  # (minibatches, B) rows, or (minibatches, n) environments
    initial_state: State | tuple[()] = ()  # before the first row, with a memory

    def minibatches(self) -> Iterator[Minibatch]:
        """Yield a copy of each minibatch."""
        for index in self.indices:
            if self.initial_state:
                h, c = self.initial_state
                rows = self.rollout.envs(index)  # (T, n, ...)
                yield Minibatch(rows.flat(), (rows, (h[:, index], c[:, index])))
            else:
                yield Minibatch(self.rollout.take(index))

    def sizes(self) -> list[int]:
        """Return B of each minibatch."""
        count, size = self.indices.shape
        return [size * (len(self.rollout.action) if self.initial_state else 1)] * count


# (rollout (T, N, ...), its initial state, number of minibatches, generator) -> a pass
MakePass = Callable[[RolloutBatch, State | None, int, np.random.Generator], RolloutPass]


def shuffled_rows(
    rollout: RolloutBatch,
    initial_state: State | None,
    minibatches: int,
    generator: np.random.Generator,
) -> RolloutPass:
    """Return a pass over all rows once, in random order, each by itself."""
    flat = rollout.flat()  # (T, N, ...) -> (T N, ...)
    count, device = len(flat.action), flat.action.device
    return RolloutPass(flat, shuffled(count, minibatches, generator, device))


def shuffled_sequences(
    rollout: RolloutBatch,
    initial_state: State | None,
    minibatches: int,
    generator: np.random.Generator,
) -> RolloutPass:
    """Return a pass over all environments once, in random order, each with its T rows."""
    assert initial_state is not None, "a recurrent network has a state"
    envs, device = rollout.action.shape[1], rollout.action.device
    return RolloutPass(rollout, shuffled(envs, minibatches, generator, device), initial_state)
