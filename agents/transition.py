"""What a step was worth to a learner. Here alone does an end become a discount.

Dimension key: N environments.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wnrl.envs.vector import Flags, Step


class Outcome(NamedTuple):
    """Of the actions on N observations, as it is stored with them."""

    reward: npt.NDArray[np.float32]  # (N,) as the learner sees it
    discount: npt.NDArray[np.float32]  # (N,) of the value of what follows
    valid: Flags  # (N,) whether the emulator used the action


def outcome_of(step: Step, gamma: float, *, clip_rewards: bool) -> Outcome:
    """The learner's side of a step.

    Game over and a lost life discount by 0; a time limit by gamma, since play would have gone on.
    Where `step.first`, the observation acted on was an episode's last: no transition.

    Args:
        step: what the actions brought.
        gamma: the discount of a step.
        clip_rewards: whether the learner sees rewards clipped to [-1, 1] (Mnih et al. 2015).
    """
    reward = np.clip(step.reward, -1.0, 1.0) if clip_rewards else step.reward
    discount = np.where(step.terminated | step.life_lost, 0.0, gamma).astype(np.float32)
    return Outcome(reward, discount, ~step.first)
