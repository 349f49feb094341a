"""Fills a rollout with an agent's own steps: the half of every on-policy agent that is the same.

Dimension key: N environments.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from wnrl.agents.recurrence import Memory
from wnrl.agents.transition import outcome_of
from wnrl.envs.vector import Flags, Observations, Step
from wnrl.nn.weight_norm.lstm import State
from wnrl.rl.losses import masked_mean
from wnrl.rl.returns import generalized_advantages
from wnrl.rl.rollout import Rollout, RolloutBatch


class Collector:
    """A rollout on its way: `acted` and `observed` in turns, then `batch` when it is full.

    Attributes:
        agent_steps: actions that the emulators used since the run's start.
        began: the memory's state at the rollout's first row; None without one.
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
            memory: of the network that acts.
            device: where it is.
            gamma: the discount of a step.
            clip_rewards: whether the learner sees rewards clipped to [-1, 1].
        """
        self._rollout = rollout
        self._memory = memory
        self._device = device
        self._gamma = gamma
        self._clip_rewards = clip_rewards
        self._acted_on: tuple[Observations, Flags, dict[str, Tensor]] | None = None
        self._newest: tuple[Observations, Flags] | None = None
        self.began: State | None = memory.state
        self.agent_steps = 0

    @property
    def full(self) -> bool:
        """Whether the rollout has all its rows."""
        return self._rollout.full

    def inputs(self, obs: Observations, first: Flags) -> tuple[Tensor, Tensor]:
        """Observations (N, ...) and first (N,) on the device."""
        return torch.from_numpy(obs).to(self._device), torch.from_numpy(first).to(self._device)

    def acted(self, obs: Observations, first: Flags, **kept: Tensor) -> None:
        """Remember what is acted on, and what the agent keeps of it, by name: each (N,)."""
        self._acted_on = (obs, first, kept)

    def observed(self, step: Step) -> None:
        """Store the row of the observation acted on."""
        assert self._acted_on is not None, "observed comes after acted"
        obs, first, kept = self._acted_on
        outcome = outcome_of(step, self._gamma, clip_rewards=self._clip_rewards)
        self._rollout.add(obs, first, step.action, *outcome, **kept)
        self._newest = (step.obs, step.first)
        self.agent_steps += int(outcome.valid.sum())

    def following(self) -> tuple[Tensor, Tensor]:
        """The observations (N, ...) after the last row and first (N,), on the device."""
        assert self._newest is not None, "something was observed"
        return self.inputs(*self._newest)

    def batch(self) -> RolloutBatch:
        """The rollout (T, N, ...) on the device."""
        return self._rollout.to(self._device)

    def restart(self) -> None:
        """Begin the next rollout where this one ends."""
        self._rollout.clear()
        self.began = self._memory.state

    def state_dict(self) -> dict[str, Any]:
        """The rows so far, and the memory."""
        began = None if self.began is None else list(self.began)
        return {
            "rollout": self._rollout.state_dict(),
            "memory": self._memory.state_dict(),
            "began": began,
            "agent_steps": self.agent_steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on."""
        self._rollout.load_state_dict(state["rollout"])
        self._memory.load_state_dict(state["memory"])
        if state["began"] is not None:
            h, c = (x.to(self._device) for x in state["began"])
            self.began = (h, c)
        self.agent_steps = state["agent_steps"]


def value_after(row_value: Tensor, last: Tensor) -> Tensor:
    """Values (T, N) of what follows each row: the next row's, and `last` (N,) at the end."""
    return torch.cat((row_value[1:], last[None]))


def with_advantages(rollout: RolloutBatch, last: Tensor, gae_lambda: float) -> RolloutBatch:
    """The rollout with `advantage` and `return` kept beside its rows' `value`.

    Args:
        rollout: (T, N, ...) with the values at the time of acting.
        last: (N,) values of what follows the last row.
        gae_lambda: of the advantages.
    """
    value = rollout.kept["value"]
    advantage = generalized_advantages(
        rollout.reward,
        rollout.discount,
        value,
        value_after(value, last),
        rollout.valid,
        gae_lambda,
    )
    return rollout._replace(
        kept={**rollout.kept, "advantage": advantage, "return": advantage + value}
    )


def explained_variance(rollout: RolloutBatch) -> Tensor:
    """() Of the returns, by the values at the time of acting: 1 - Var[G - V] / Var[G], as in SB3.

    NaN or -inf where all returns are the same or no row is valid.
    """
    target, value = rollout.kept["return"], rollout.kept["value"]
    return 1 - _variance(target - value, rollout.valid) / _variance(target, rollout.valid)


def _variance(x: Tensor, valid: Tensor) -> Tensor:
    return masked_mean((x - masked_mean(x, valid)).square(), valid)
