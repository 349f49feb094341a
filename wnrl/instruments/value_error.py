"""Errors of predicted values against realised returns on evaluation episodes, state by state.

Returns are those that the learner sees: discounted, of clipped rewards if it clips them, and ended
by a lost life if that is terminal in training. Predictions are those of the acting policy, random
actions included.

Dimension key: N environments, T agent steps of an episode, S states.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.agents.base import Predictions, ValuePolicy
from wnrl.envs.vector import Actions, Flags, Observations, Step

LARGEST_TAIL = 0.01  # discount up to a cut below which the missing rest of a return is ignored
PREDICT_EVERY_STEPS = 4  # agent steps; neighbouring states are nearly the same


class Gap(NamedTuple):
    """Predicted values and realised returns of the same states and actions."""

    predicted: Predictions  # (S,)
    realised: Predictions  # (S,)

    def scalars(self) -> dict[str, float]:
        """Return means over the states, by tag; empty without a state."""
        if len(self.predicted) == 0:
            return {}
        error = self.predicted.astype(np.float64) - self.realised
        return {
            "norm/value_gap": float(error.mean()),
            "norm/value_gap_rms": float(np.sqrt(np.square(error).mean())),
            "norm/value_predicted": float(self.predicted.mean()),
            "norm/value_realised": float(self.realised.mean()),
        }


def realised_returns(
    rewards: npt.NDArray[np.float64], discounts: npt.NDArray[np.float64], *, cut: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return G_k = r_{k+1} + d_{k+1} G_{k+1} of every step of an episode, and which are known.

    If the episode was cut (a time limit, the cap on its length), the rewards after the cut are
    missing. A return is known if the product of discounts up to the cut is at most `LARGEST_TAIL`.
    The rest is not bootstrapped, which would compare one prediction with another.

    Args:
        rewards: (T,) in time order.
        discounts: (T,) discount after each reward; 0 ends the return.
        cut: whether the episode was cut after the last step.

    Returns:
        G (T,), and (T,) whether it is known.

    Raises:
        ValueError: the shapes are not the same (T,).
    """
    if rewards.ndim != 1 or rewards.shape != discounts.shape:
        raise ValueError(
            f"rewards are {rewards.shape}, discounts {discounts.shape}: expected the same (T,)"
        )
    returns, known = np.zeros(len(rewards)), np.zeros(len(rewards), np.bool_)
    following, tail = 0.0, float(cut)
    for k in reversed(range(len(rewards))):
        following = rewards[k] + discounts[k] * following
        tail *= discounts[k]
        returns[k], known[k] = following, tail <= LARGEST_TAIL
    return returns, known


class ValueGap:
    """Follows evaluation episodes and pairs each prediction with its return.

    Call `acted` before each step of the environments, `stepped` after it, and `ended` for each
    episode that counts.
    """

    def __init__(
        self, policy: ValuePolicy, num_envs: int, gamma: float, *, clip_rewards: bool
    ) -> None:
        """Start without predictions.

        Args:
            policy: the acting policy.
            num_envs: N.
            gamma: the learner's discount per agent step.
            clip_rewards: whether the learner clips rewards to [-1, 1].
        """
        self._policy = policy
        self._gamma = gamma
        self._clip_rewards = clip_rewards
        self._predicted: list[list[float]] = [[] for _ in range(num_envs)]  # NaN: not predicted
        self._rewards: list[list[float]] = [[] for _ in range(num_envs)]
        self._discounts: list[list[float]] = [[] for _ in range(num_envs)]
        self._newest = np.full(num_envs, np.nan, np.float32)
        self._steps = 0
        self._gaps: list[Gap] = []

    def acted(self, obs: Observations, actions: Actions) -> None:
        """Predict the values of actions (N,) at observations (N, ...)."""
        if self._steps % PREDICT_EVERY_STEPS == 0:
            self._newest = self._policy.values(obs, actions)
        else:
            self._newest = np.full(len(actions), np.nan, np.float32)
        self._steps += 1

    def stepped(self, step: Step) -> None:
        """Add the rewards of a step. The first row of an episode clears its environment."""
        rewards = np.clip(step.reward, -1.0, 1.0) if self._clip_rewards else step.reward
        over: Flags = step.terminated | step.life_lost
        for env in range(len(rewards)):
            if step.first[env]:
                self._predicted[env], self._rewards[env], self._discounts[env] = [], [], []
                continue
            self._predicted[env].append(float(self._newest[env]))
            self._rewards[env].append(float(rewards[env]))
            self._discounts[env].append(0.0 if over[env] else self._gamma)

    def ended(self, env: int, *, cut: bool) -> None:
        """Count the episode of one environment, which ends here.

        Args:
            env: its index.
            cut: whether the episode was cut instead of terminated.
        """
        predicted = np.array(self._predicted[env], np.float32)
        returns, known = realised_returns(
            np.array(self._rewards[env]), np.array(self._discounts[env]), cut=cut
        )
        chosen = known & ~np.isnan(predicted)
        with np.errstate(over="ignore"):  # a return that float32 cannot hold is infinite
            self._gaps.append(Gap(predicted[chosen], returns[chosen].astype(np.float32)))

    def result(self) -> Gap:
        """Return all states of the counted episodes."""
        empty = Gap(np.zeros(0, np.float32), np.zeros(0, np.float32))
        parts = [empty, *self._gaps]
        return Gap(*(np.concatenate(field) for field in zip(*parts, strict=True)))
