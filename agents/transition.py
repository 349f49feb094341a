"""Convert an environment step to a learner transition.

This is the only place where termination becomes a discount.

Dimension key: N environments.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.envs.vector import Flags, Step


class Transition(NamedTuple):
    """The learner's side of a step, stored with the N observations acted on."""

    reward: npt.NDArray[np.float32]  # (N,) as the learner sees it
    discount: npt.NDArray[np.float32]  # (N,) factor of the value of what follows
    valid: Flags  # (N,) whether the emulator used the action


def transition_of(step: Step, gamma: float, *, clip_rewards: bool) -> Transition:
    """Convert a step to a transition.

    Game over and a lost life discount by 0. A time limit discounts by gamma, since play would have
    gone on. Where `step.first`, the observation acted on was an episode's last: no transition.

    Args:
        step: outcome of the actions.
        gamma: discount per step.
        clip_rewards: whether the learner sees rewards clipped to [-1, 1] (Mnih et al. 2015).
    """
    reward = np.clip(step.reward, -1.0, 1.0) if clip_rewards else step.reward
    discount = np.where(step.terminated | step.life_lost, 0.0, gamma).astype(np.float32)
    return Transition(reward, discount, ~step.first)
