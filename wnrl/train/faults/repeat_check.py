"""Whether an environment depends on its seed and actions alone, which an exact resume needs."""

import time
from collections.abc import Callable

import numpy as np

from wnrl.envs.guard.guarded_env import EnvironmentFault
from wnrl.envs.vector import VectorEnv

STEPS = 64
BUDGET_S = 1.0


def repeats(make: Callable[[], VectorEnv]) -> bool:
    """Play the same short sequence of random actions in two environments and compare.

    Args:
        make: makes the environments, with the same seed each time.

    Returns:
        False if an observation or a reward differed. True if none did within `STEPS` steps or
        `BUDGET_S`, or if the environment failed, which the run itself will report.
    """
    start_s = time.monotonic()
    one, other = make(), make()
    try:
        one.reset()
        other.reset()
        generator = np.random.default_rng(0)
        for _ in range(STEPS):
            if not np.array_equal(one.obs, other.obs):
                return False
            actions = generator.integers(one.num_actions, size=one.num_envs)
            one.send(actions)
            other.send(actions)
            if not np.array_equal(one.recv().reward, other.recv().reward):
                return False
            if time.monotonic() - start_s > BUDGET_S:
                break
    except EnvironmentFault:
        return True
    finally:
        one.close()
        other.close()
    return True
